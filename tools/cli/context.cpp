// Server discovery, calls, output, errors.
#include <unistd.h>

#include <algorithm>
#include <boost/json.hpp>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>

#include "runtime/effects/http_client.h"
#include "runtime/effects/sse_parser.h"
#include "tools/cli/commands.h"

namespace soma::cli {

namespace json = boost::json;

namespace {

std::string environment(const char* name) {
  const char* v = std::getenv(name);
  return v ? v : "";
}

std::string cell(const json::value* v) {
  if (!v || v->is_null()) return "-";
  std::string text = v->is_string() ? std::string(v->get_string()) : json::serialize(*v);
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text.size() > 60 ? text.substr(0, 57) + "..." : text;
}

std::vector<std::string> headers_for(const Context& c) {
  std::vector<std::string> out{"X-Client-Type: cli"};
  const std::string token = c.token.empty() ? environment("SOMA_TOKEN") : c.token;
  if (!token.empty()) out.push_back("Authorization: Bearer " + token);
  return out;
}

Error error_of(const runtime::HttpReply& reply) {
  boost::system::error_code bad;
  const json::value v = json::parse(reply.body, bad);
  if (bad || !v.is_object())
    return {Code::kInternal, "the node answered " + std::to_string(reply.status), {}};
  const auto text = [&](const char* name) {
    const auto* m = v.get_object().if_contains(name);
    return m && m->is_string() ? std::string(m->get_string()) : std::string();
  };
  return {
      code_from_name(text("code")), text("detail").empty() ? text("title") : text("detail"), {}};
}

}  // namespace

int exit_code_of(Code code) {
  switch (code) {
    case Code::kInvalidArgument:
    case Code::kMalformed:
      return 2;
    case Code::kNotFound:
      return 3;
    case Code::kUnauthenticated:
      return 4;
    case Code::kForbidden:
    case Code::kPolicyDenied:
      return 5;
    case Code::kRateLimited:
    case Code::kBudgetExhausted:
    case Code::kOverloaded:
      return 7;
    case Code::kConflict:
    case Code::kVersionMismatch:
    case Code::kLocked:
    case Code::kCancelled:
      return 8;
    case Code::kCorrupt:
      return 9;
    default:
      return 1;
  }
}

std::string Context::folder() const {
  if (!data_dir.empty()) return data_dir;
  const std::string from_environment = environment("SOMA_DATA_DIR");
  return from_environment.empty() ? ".soma" : from_environment;
}

Result<std::string> Context::url() const {
  if (!server.empty()) return server;
  if (const std::string s = environment("SOMA_SERVER"); !s.empty()) return s;
  std::ifstream in(folder() + "/run/endpoints.json");
  const std::string text((std::istreambuf_iterator<char>(in)), {});
  boost::system::error_code bad;
  const json::value v = json::parse(text, bad);
  if (bad || !v.is_object() || !v.get_object().contains("http"))
    return tl::unexpected(
        Error{Code::kUnavailable,
              "no node is running on " + folder() + "; start one with `soma dev`, or give --server",
              {}});
  return std::string(v.get_object().at("http").get_string());
}

Result<json::value> Context::call(const std::string& method, const std::string& path,
                                  const json::value& body) const {
  auto base = url();
  if (!base) return tl::unexpected(base.error());
  runtime::HttpCall c;
  c.method = method;
  c.url = *base + path;
  c.headers = headers_for(*this);
  c.timeout_ms = 180'000;
  if (!body.is_null()) {
    c.body = json::serialize(body);
    c.headers.push_back("Content-Type: application/json");
  }
  auto reply = runtime::http_call(c);
  if (!reply) return tl::unexpected(reply.error());
  if (reply->status >= 400) return tl::unexpected(error_of(*reply));
  boost::system::error_code bad;
  json::value v = json::parse(reply->body, bad);
  if (bad) return tl::unexpected(Error{Code::kInternal, "the node's answer is not JSON", {}});
  return v;
}

Status Context::follow(
    const std::string& path,
    const std::function<bool(std::string_view, std::string_view)>& on_event) const {
  auto base = url();
  if (!base) return tl::unexpected(base.error());
  runtime::HttpCall c;
  c.url = *base + path;
  c.headers = headers_for(*this);
  std::string buffer, name, data;
  bool stop = false;
  c.on_bytes = [&](std::string_view bytes) {
    buffer.append(bytes);
    for (auto end = buffer.find('\n'); end != std::string::npos && !stop; end = buffer.find('\n')) {
      const std::string line = buffer.substr(0, end);
      buffer.erase(0, end + 1);
      if (line.starts_with("event: "))
        name = line.substr(7);
      else if (line.starts_with("data: "))
        data += line.substr(6);
      else if (line.empty()) {
        if (!data.empty()) stop = !on_event(name, data);
        name.clear();
        data.clear();
      }
    }
    return !stop;
  };
  auto reply = runtime::http_call(c);
  if (!reply) return tl::unexpected(reply.error());
  return reply->status >= 400 ? Status(tl::unexpected(error_of(*reply))) : Status{};
}

bool Context::table() const {
  return output == "table" || output == "wide" || (output.empty() && ::isatty(1));
}

void Context::print(const json::value& value) const {
  std::cout << json::serialize(value) << std::endl;
}

void Context::print_list(const json::array& items, const std::vector<std::string>& columns) const {
  if (!table()) {
    for (const auto& item : items) {
      if (output == "name")
        std::cout << cell(item.get_object().if_contains(columns.front())) << "\n";
      else
        std::cout << json::serialize(item) << "\n";
    }
    return;
  }
  std::vector<std::size_t> widths;
  for (const auto& c : columns) {
    widths.push_back(c.size());
    for (const auto& item : items)
      widths.back() = std::max(widths.back(), cell(item.get_object().if_contains(c)).size());
  }
  const auto row = [&](const std::function<std::string(const std::string&)>& get) {
    for (std::size_t i = 0; i < columns.size(); ++i) {
      const std::string text = get(columns[i]);
      std::cout << text
                << std::string(i + 1 < columns.size() ? widths[i] - text.size() + 2 : 0, ' ');
    }
    std::cout << "\n";
  };
  row([](const std::string& c) {
    std::string upper = c;
    std::transform(upper.begin(), upper.end(), upper.begin(),
                   [](unsigned char ch) { return std::toupper(ch); });
    return upper;
  });
  for (const auto& item : items)
    row([&](const std::string& c) { return cell(item.get_object().if_contains(c)); });
}

int Context::fail(const Error& error) const {
  if (output == "json" || output == "ndjson")
    std::cerr << json::serialize(json::object{{"error",
                                               {{"code", std::string(code_name(error.code))},
                                                {"message", error.message},
                                                {"http_status", code_http_status(error.code)}}}})
              << std::endl;
  else
    std::cerr << "soma: " << error.message << (error.field.empty() ? "" : " (" + error.field + ")")
              << " [" << code_name(error.code) << "]" << std::endl;
  return exit_code_of(error.code);
}

}  // namespace soma::cli
