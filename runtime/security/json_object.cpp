// The strict reader, to a small depth.
#include "runtime/security/json_object.h"

#include "schemas/json/json_read.h"

namespace soma::runtime::security {

std::optional<boost::json::object> parse_object(std::string_view text) {
  auto object = read_json_object(text, {.max_depth = 16});
  return object ? std::optional(std::move(*object)) : std::nullopt;
}

}  // namespace soma::runtime::security
