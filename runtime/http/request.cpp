// Headers, look-ups, and the house's standard answers.
#include "runtime/http/request.h"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <charconv>
#include <cstdlib>

#include "runtime/http/text.h"
#include "schemas/json/json_text.h"

namespace soma::runtime::http {

namespace json = boost::json;

void Headers::add(std::string name, std::string value) {
  fields_.emplace_back(std::move(name), std::move(value));
}

void Headers::set(std::string_view name, std::string value) {
  std::erase_if(fields_, [&](const auto& f) { return equal_without_case(f.first, name); });
  fields_.emplace_back(std::string(name), std::move(value));
}

std::optional<std::string_view> Headers::get(std::string_view name) const {
  for (const auto& [key, value] : fields_)
    if (equal_without_case(key, name)) return value;
  return {};
}

std::string Headers::get_or(std::string_view name, std::string_view fallback) const {
  return std::string(get(name).value_or(fallback));
}

std::size_t Headers::count(std::string_view name) const {
  std::size_t n = 0;
  for (const auto& field : fields_) n += equal_without_case(field.first, name) ? 1 : 0;
  return n;
}

const std::string& Request::param(std::string_view name) const {
  const auto it = params.find(std::string(name));
  if (it == params.end()) std::abort();  // the handler asks for what its pattern does not have
  return it->second;
}

std::optional<std::string> Request::query_value(std::string_view name) const {
  const auto it = query.find(std::string(name));
  return it == query.end() ? std::nullopt : std::optional(it->second);
}

std::int64_t Request::query_int(std::string_view name, std::int64_t fallback) const {
  const auto text = query_value(name);
  std::int64_t value = fallback;
  if (text) {
    const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), value);
    if (error != std::errc() || end != text->data() + text->size()) return fallback;
  }
  return value;
}

bool Request::query_bool(std::string_view name, bool fallback) const {
  const auto text = query_value(name);
  return text ? *text == "true" || *text == "1" : fallback;
}

Response json_response(int status, const json::value& value) {
  Response out;
  out.status = status;
  out.body = json_text(value);
  return out;
}

Response text_response(int status, std::string text, std::string content_type) {
  Response out;
  out.status = status;
  out.body = std::move(text);
  out.content_type = std::move(content_type);
  return out;
}

namespace {

Response make_problem(int status, const Error& error, const std::vector<FieldError>& errors) {
  const std::string code(code_name(error.code));
  json::object body{
      {"type", "urn:soma:error:" + code},
      {"title", status_text(status)},
      {"status", status},
      {"detail", code_is_public(error.code) ? error.message : std::string("internal error")},
      {"code", code}};
  if (!errors.empty()) {
    json::array list;
    for (const FieldError& e : errors) {
      json::array loc;
      for (const auto& part : e.loc) loc.emplace_back(part);
      list.push_back(json::object{{"loc", std::move(loc)}, {"msg", e.msg}, {"type", e.type}});
    }
    body["errors"] = std::move(list);
  }
  Response out;
  out.status = status;
  out.body = json_text(body);
  out.content_type = "application/problem+json";
  if (status == 401) out.header("WWW-Authenticate", "Bearer");
  if (status == 503 || status == 429) out.header("Retry-After", "1");
  return out;
}

}  // namespace

Response problem(const Error& error, const std::vector<FieldError>& errors) {
  return make_problem(code_http_status(error.code), error, errors);
}

Response problem_as(int status, const Error& error) { return make_problem(status, error, {}); }

Response problem(const Error& error) {
  std::vector<FieldError> errors;
  if (!error.field.empty() && code_http_status(error.code) == 422) {
    FieldError e;
    std::string_view rest = error.field;
    for (auto dot = rest.find('.'); dot != rest.npos; dot = rest.find('.')) {
      e.loc.emplace_back(rest.substr(0, dot));
      rest.remove_prefix(dot + 1);
    }
    e.loc.emplace_back(rest);
    e.msg = error.message;
    e.type = "invalid";
    errors.push_back(std::move(e));
  }
  return problem(error, errors);
}

Response field_error(std::vector<std::string> loc, std::string msg, std::string type) {
  std::string name;
  for (const auto& part : loc) (name += name.empty() ? "" : ".") += part;
  const Error error{Code::kInvalidArgument, name + ": " + msg, {}};
  return problem(error, {{std::move(loc), std::move(msg), std::move(type)}});
}

Response problem_retry(const Error& error, int retry_after_s) {
  Response out = problem(error);
  std::erase_if(out.headers, [](const auto& h) { return h.first == "Retry-After"; });
  return std::move(out.header("Retry-After", std::to_string(retry_after_s)));
}

}  // namespace soma::runtime::http
