// The reader's error, told of a body.
#include "runtime/http/json_strict.h"

namespace soma::runtime::http {

Result<boost::json::value> parse_json_strict(std::string_view text, const JsonLimits& limits) {
  auto value = read_json(text, limits);
  if (!value) return fail(value.error().code, "the body is " + value.error().message, "body");
  return value;
}

}  // namespace soma::runtime::http
