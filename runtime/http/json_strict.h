// Strict JSON for bytes from outside: one reading, or an error with its byte offset.
#pragma once

#include <boost/json/value.hpp>
#include <cstddef>
#include <string_view>

#include "schemas/base/errors.h"

namespace soma::runtime::http {

struct JsonLimits {
  std::size_t max_bytes = 32 * 1024 * 1024;
  std::size_t max_depth = 64;
  std::size_t max_members = 10'000;  // of one object
};

// RFC 8259 and no more: refused are duplicate keys (after unescaping), invalid UTF-8 and lone
// surrogates, integers that fit neither int64 nor uint64, numbers that are not finite, deeper
// nesting, more members, trailing bytes. kMalformed, or kTooLarge for max_bytes.
Result<boost::json::value> parse_json_strict(std::string_view text, const JsonLimits& limits = {});

}  // namespace soma::runtime::http
