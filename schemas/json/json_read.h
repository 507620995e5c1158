// JSON text as a value, read one way only: what two readers could differ on is an error, and every
// number is the double nearest to what stands there (Boost.JSON's own parser may be off in the last
// bit, by which a policy score that is read back is another).
#pragma once

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "schemas/base/errors.h"

namespace soma {

struct JsonLimits {
  std::size_t max_bytes = SIZE_MAX;
  std::size_t max_depth = 64;
  std::size_t max_members = SIZE_MAX;  // of one object
};

// RFC 8259 and no more: refused are duplicate keys (after unescaping), invalid UTF-8 and lone
// surrogates, integers that fit neither int64 nor uint64, numbers that are not finite, deeper
// nesting, more members, trailing bytes. kMalformed, or kTooLarge for max_bytes; the message goes
// on a sentence: "not valid JSON at byte 7: it ends too early".
Result<boost::json::value> read_json(std::string_view text, const JsonLimits& limits = {});
// kMalformed also for a value that is no object.
Result<boost::json::object> read_json_object(std::string_view text, const JsonLimits& limits = {});

}  // namespace soma
