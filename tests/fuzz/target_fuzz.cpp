// Fuzzes what stands in request targets: what decodes is sound text, and encoding it again decodes
// to the same.
#include <cstdint>
#include <cstdio>
#include <string>

#include "runtime/http/router.h"
#include "runtime/http/text.h"
#include "tests/fuzz/check.h"

using namespace soma::runtime;
using soma::fuzz::check;

namespace {

std::string encoded(const std::string& text) {
  std::string out;
  for (const char c : text) {
    char hex[4];
    std::snprintf(hex, sizeof hex, "%%%02X", static_cast<unsigned char>(c));
    out += hex;
  }
  return out;
}

const http::Router& router() {
  static const auto made = [] {
    auto r = std::make_unique<http::Router>();
    for (const char* pattern : {"/v1/a/{id}", "/v1/a/{id}/b", "/v1/a/list", "/{x}/{y}/{z}"}) {
      http::Route route;
      route.method = "GET";
      route.pattern = pattern;
      route.capability = "public";
      route.handler = [](const auto&, const auto&) {};
      r->add(std::move(route));
    }
    return r;
  }();
  return *made;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  for (const bool plus : {false, true}) {
    const auto decoded = http::percent_decode(text, plus);
    if (!decoded) continue;
    check(http::valid_utf8(*decoded) && decoded->find('\0') == std::string::npos);
    check(http::percent_decode(encoded(*decoded), plus) == decoded);
  }
  if (const auto query = http::parse_query(text)) {
    check(query->size() <= http::kMaxQueryParameters);
    std::string again;
    for (const auto& [name, value] : *query)
      again += (again.empty() ? "" : "&") + encoded(name) + "=" + encoded(value);
    if (!query->empty()) check(http::parse_query(again) == query);
  }
  const auto match = router().match("GET", "/" + text);
  if (match.route)
    for (const auto& [name, value] : match.params) check(!value.empty() && http::valid_utf8(value));
  return 0;
}
