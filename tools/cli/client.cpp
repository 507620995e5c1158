// Calls of the node's routes.
#include <boost/json.hpp>
#include <cctype>

#include "runtime/effects/http_client.h"
#include "runtime/http/tls.h"
#include "schemas/json/json_read.h"
#include "schemas/json/json_text.h"
#include "tools/cli/commands.h"
#include "tools/cli/discovery.h"
#include "tools/offline/folder.h"

namespace soma::cli {

namespace json = boost::json;

namespace {

constexpr long kTimeoutMs = 180'000;

std::vector<std::string> headers_for(const Context& c) {
  std::vector<std::string> out{"X-Client-Type: cli"};
  std::string token = c.token.empty() ? environment("SOMA_TOKEN") : c.token;
  if (token.empty())
    if (const auto profile = profile_of(c)) token = profile->token;
  if (!token.empty()) out.push_back("Authorization: Bearer " + token);
  return out;
}

// What the environment says, else the context that names the node. The node of a folder is known by
// the key of the certificate that it named there.
runtime::ClientTls tls_for(const Context& c) {
  const Profile profile = profile_of(c).value_or(Profile{});
  const std::string named = c.named_node().value_or("");
  runtime::ClientTls tls;
  if (!named.empty() && named == profile.server)
    tls = {profile.ca_file, profile.cert_file, profile.key_file, {}};
  if (const auto ca = environment("SOMA_CA_FILE"); !ca.empty()) tls.ca_file = ca;
  if (const auto cert = environment("SOMA_CERT_FILE"); !cert.empty())
    tls.cert_file = cert, tls.key_file = environment("SOMA_KEY_FILE");
  if (!tls.ca_file.empty() || !named.empty()) return tls;
  if (const auto endpoints = endpoints_of(c.folder()))
    tls.pin = runtime::http::key_pin(endpoints->tls_cert_file).value_or("");
  return tls;
}

// For answers that are no problem documents, as a proxy's.
Code code_of_status(long status) {
  switch (status) {
    case 400:
      return Code::kMalformed;
    case 401:
      return Code::kUnauthenticated;
    case 403:
      return Code::kForbidden;
    case 404:
      return Code::kNotFound;
    case 409:
      return Code::kConflict;
    case 412:
      return Code::kVersionMismatch;
    case 422:
      return Code::kInvalidArgument;
    case 429:
      return Code::kRateLimited;
    case 501:
      return Code::kNotSupported;
    case 502:
    case 503:
    case 504:
      return Code::kUnavailable;
    default:
      return Code::kInternal;
  }
}

std::string header(const runtime::HttpReply& reply, const char* name) {
  const auto it = reply.headers.find(name);
  return it == reply.headers.end() ? std::string() : it->second;
}

}  // namespace

std::string url_encoded(std::string_view text) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  std::string out;
  for (const char ch : text) {
    const auto c = static_cast<unsigned char>(ch);
    if (std::isalnum(c) || ch == '-' || ch == '_' || ch == '.' || ch == '~')
      out.push_back(ch);
    else
      out += {'%', kHex[c >> 4], kHex[c & 15]};
  }
  return out;
}

Error Context::error_of(long status, const std::string& body, const std::string& trace_id,
                        const std::string& retry_after) const {
  const json::value v = read_json(body).value_or(nullptr);
  Error e;
  std::string code = text_of(v, "code");
  e.code = code.empty() ? code_of_status(status) : code_from_name(code);
  if (e.code == Code::kInternal && !code.empty() && code != "internal")
    e.code = code_of_status(status);  // a code that this build does not know
  e.message = text_of(v, "detail");
  if (e.message.empty()) e.message = text_of(v, "title");
  if (e.message.empty()) e.message = "the server answered " + std::to_string(status);
  if (!retry_after.empty())
    e.retry_after_ms = 1000 * std::strtoll(retry_after.c_str(), nullptr, 10);
  const bool unknown_route = status == 404 && e.message == "no route has this path";
  if (unknown_route) e.message = "the node does not know this request: it is of another build";
  problem_ = {e.message, code.empty() ? std::string(code_name(e.code)) : code, trace_id, status,
              unknown_route};
  return e;
}

Result<runtime::BlockingCall> Context::request(const std::string& method,
                                               const std::string& path) const {
  auto base = url();
  if (!base) return tl::unexpected(base.error());
  runtime::BlockingCall c;
  c.method = method;
  c.url = *base + path;
  c.headers = headers_for(*this);
  if (c.url.starts_with("https://")) c.tls = tls_for(*this);
  return c;
}

Result<runtime::HttpReply> Context::answer_to(const runtime::BlockingCall& call) const {
  auto reply = runtime::http_call(call);
  if (!reply && call.url.starts_with("https://"))
    reply.error().message +=
        " (its TLS files: SOMA_CA_FILE, SOMA_CERT_FILE and SOMA_KEY_FILE, or the context's "
        "ca_file, "
        "cert_file and key_file)";
  if (reply && reply->status >= 400)
    return tl::unexpected(error_of(reply->status, reply->body, header(*reply, "x-request-id"),
                                   header(*reply, "retry-after")));
  return reply;
}

Result<std::string> Context::fetch(const std::string& method, const std::string& path,
                                   const json::value& body, const std::string& if_match) const {
  auto call = request(method, path);
  if (!call) return tl::unexpected(call.error());
  auto& c = *call;
  c.timeout_ms = kTimeoutMs;
  if (method != "GET" && !idempotency_key.empty())
    c.headers.push_back("Idempotency-Key: " + idempotency_key);
  if (!if_match.empty()) c.headers.push_back("If-Match: " + if_match);
  if (!body.is_null()) {
    c.body = json_text(body);
    c.headers.push_back("Content-Type: application/json");
  }
  auto reply = answer_to(c);
  if (!reply) return tl::unexpected(reply.error());
  return std::move(reply->body);
}

Status Context::download(const std::string& method, const std::string& path,
                         const std::function<bool(std::string_view)>& take) const {
  auto call = request(method, path);
  if (!call) return tl::unexpected(call.error());
  auto& c = *call;
  bool stopped = false;
  c.on_bytes = [&](std::string_view bytes) {
    stopped = !take(bytes);
    return !stopped;
  };
  if (auto reply = answer_to(c); !reply) return tl::unexpected(reply.error());
  return stopped ? Status(soma::fail(Code::kCancelled, "it was ended before the answer did"))
                 : Status();
}

Result<json::value> Context::call(const std::string& method, const std::string& path,
                                  const json::value& body, const std::string& if_match) const {
  if (dry_run && method != "GET")
    return json::object{{"dry_run", true}, {"method", method}, {"path", path}, {"body", body}};
  auto answer = fetch(method, path, body, if_match);
  if (!answer) return tl::unexpected(answer.error());
  auto v = read_json(*answer);
  if (!v)
    return soma::fail(Code::kInternal,
                      path + " answered something that is not JSON; is it a soma node?");
  return v;
}

Result<json::value> Context::read(const std::string& path) const {
  if (!folder_ && !kafka.empty()) {
    auto log = offline::open_cluster(*this);
    if (!log) return tl::unexpected(log.error());
    folder_ = offline::Folder::over("the journal of " + kafka, std::move(*log));
  }
  if (folder_) return folder_->get(path);
  if (node_is_there()) return call("GET", path);
  if (!offline)
    if (auto named = named_node(); !named) return tl::unexpected(named.error());
  if (!folder_) {
    auto opened = offline::Folder::open(folder());
    if (!opened && opened.error().code == Code::kNotFound && !offline)
      return tl::unexpected(url().error());  // neither a node nor a folder
    if (!opened) return tl::unexpected(opened.error());
    folder_ = std::move(*opened);
  }
  return folder_->get(path);
}

Result<json::array> Context::read_all(const std::string& path) const {
  json::array out;
  std::string next;
  do {
    auto page = read(path + "?limit=200" + (next.empty() ? "" : "&cursor=" + url_encoded(next)));
    if (!page) return tl::unexpected(page.error());
    for (auto& item : page->at("items").as_array()) out.push_back(std::move(item));
    next = text_of(*page, "next_cursor");
  } while (!next.empty());
  return out;
}

Status Context::follow(const std::string& path,
                       const std::function<bool(std::string_view, std::string_view)>& on_event,
                       const std::function<bool()>& on_idle,
                       const std::string& last_event_id) const {
  auto call = request("GET", path);
  if (!call) return tl::unexpected(call.error());
  auto& c = *call;
  c.on_idle = on_idle;
  if (!last_event_id.empty()) c.headers.push_back("Last-Event-ID: " + last_event_id);
  std::string buffer, name, data;
  bool stop = false;
  c.on_bytes = [&](std::string_view bytes) {
    buffer.append(bytes);
    for (auto end = buffer.find('\n'); end != std::string::npos && !stop; end = buffer.find('\n')) {
      std::string line = buffer.substr(0, end);
      buffer.erase(0, end + 1);
      if (!line.empty() && line.back() == '\r') line.pop_back();
      if (line.starts_with("event: "))
        name = line.substr(7);
      else if (line.starts_with("data: "))
        data += (data.empty() ? "" : "\n") + line.substr(6);
      else if (line.empty()) {
        if (!data.empty()) stop = !on_event(name, data);
        name.clear();
        data.clear();
      }
    }
    return !stop;
  };
  if (auto reply = answer_to(c); !reply) return tl::unexpected(reply.error());
  return {};
}

}  // namespace soma::cli
