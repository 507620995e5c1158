// Fuzzes HTTP/1.1 requests as bytes: through the parser and every check that a request goes
// through. What is served ends where a second, literal reader of RFC 9112 says, and has a body that
// only one reading gives it (request smuggling).
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "runtime/http/exchange.h"
#include "runtime/http/text.h"
#include "tests/fuzz/check.h"

using namespace soma;
using namespace soma::runtime;
using soma::fuzz::check;
namespace beast = boost::beast;

namespace {

const http::Router& router() {
  static const auto made = [] {
    auto r = std::make_unique<http::Router>();
    for (const char* method : {"GET", "POST"}) {
      http::Route route;
      route.method = method;
      route.pattern = "/v1/a/{id}";
      route.capability = "public";
      route.raw_body = method[0] == 'P';
      route.handler = [](const auto&, const auto&) {};
      r->add(std::move(route));
    }
    return r;
  }();
  return *made;
}

// Where a request ends, read as the standard's text says; nothing where it leaves any doubt.
class Literal {
 public:
  explicit Literal(std::string_view bytes) : rest_(bytes), size_(bytes.size()) {}

  struct Read {
    std::string body;
    std::size_t end;
  };
  std::optional<Read> read() {
    if (!line()) return {};  // the request line is the parser's
    std::optional<std::size_t> length;
    bool chunked = false;
    for (auto field = unfolded(); field; field = unfolded()) {
      if (field->empty()) return chunked ? chunks() : plain(length.value_or(0));
      const auto colon = field->find(':');
      if (colon == 0 || colon == field->npos) return {};
      const auto name = std::string_view(*field).substr(0, colon);
      if (name.find_first_of(" \t") != name.npos) return {};
      const auto value = trimmed(std::string_view(*field).substr(colon + 1));
      if (http::equal_without_case(name, "Content-Length")) {
        if (length || !(length = number(value, 10))) return {};
      } else if (http::equal_without_case(name, "Transfer-Encoding")) {
        if (chunked || !http::equal_without_case(value, "chunked")) return {};
        chunked = true;
      }
      if (chunked && length) return {};
    }
    return {};
  }

 private:
  std::optional<std::string_view> line() {
    const auto end = rest_.find("\r\n");
    if (end == rest_.npos) return {};
    const auto out = rest_.substr(0, end);
    if (out.find_first_of(std::string_view("\r\n\0", 3)) != out.npos) return {};
    rest_.remove_prefix(end + 2);
    return out;
  }
  // A field's line with those that go on with it, each fold being a space (5.2).
  std::optional<std::string> unfolded() {
    const auto first = line();
    if (!first) return {};
    std::string out(*first);
    while (!out.empty() && (rest_.starts_with(' ') || rest_.starts_with('\t'))) {
      const auto more = line();
      if (!more) return {};
      out += ' ' + std::string(trimmed(*more));
    }
    return out;
  }
  static std::string_view trimmed(std::string_view text) {
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
    while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
    return text;
  }
  static std::optional<std::size_t> number(std::string_view text, std::size_t base) {
    if (text.empty() || text.size() > 15) return {};
    std::size_t n = 0;
    for (const char c : text) {
      auto digit = std::string_view("0123456789abcdefABCDEF").find(c);
      if (digit != std::string_view::npos && digit > 15) digit -= 6;
      if (digit >= base) return {};
      n = n * base + digit;
    }
    return n;
  }
  std::optional<Read> plain(std::size_t length) {
    if (rest_.size() < length) return {};
    return Read{std::string(rest_.substr(0, length)), size_ - rest_.size() + length};
  }
  std::optional<Read> chunks() {
    std::string body;
    for (auto head = line(); head; head = line()) {
      const auto size = number(trimmed(head->substr(0, head->find(';'))), 16);
      if (!size || rest_.size() < *size) return {};
      if (*size == 0) break;
      body += rest_.substr(0, *size);
      rest_.remove_prefix(*size);
      if (!rest_.starts_with("\r\n")) return {};
      rest_.remove_prefix(2);
    }
    for (auto trailer = line(); trailer; trailer = line())
      if (trailer->empty()) return Read{std::move(body), size_ - rest_.size()};
    return {};
  }

  std::string_view rest_;
  const std::size_t size_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const http::ServerOptions options;
  static const http::AuthHook auth;
  const http::Policy policy{options, router(), auth};
  beast::http::request_parser<beast::http::string_body> parser;
  parser.header_limit(static_cast<std::uint32_t>(options.header_limit));
  parser.body_limit(boost::none);
  parser.eager(false);
  boost::system::error_code error;
  std::size_t taken = parser.put(boost::asio::buffer(data, size), error);
  if (error || !parser.is_header_done()) return 0;
  http::Head head;
  head.method = std::string(parser.get().method_string());
  head.target = std::string(parser.get().target());
  head.version = parser.get().version();
  for (const auto& field : parser.get())
    head.headers.add(std::string(field.name_string()), std::string(field.value()));
  auto prepared = http::prepare(policy, std::move(head));
  check(prepared.request != nullptr);
  if (prepared.early) return check(prepared.early->status >= 200), 0;
  parser.eager(true);
  while (!parser.is_done() && !error && taken < size)
    taken += parser.put(boost::asio::buffer(data + taken, size - taken), error);
  if (error || !parser.is_done()) return 0;
  const std::string body = parser.get().body();
  if (http::take_body(policy, prepared, body)) return 0;
  Literal literal({reinterpret_cast<const char*>(data), size});
  const auto meant = literal.read();
  check(meant && meant->body == body && meant->end == taken);
  return 0;
}
