// Small strict JSON objects (token headers, claims, JWKS): no duplicate members; private to this
// room.
#pragma once

#include <boost/json/object.hpp>
#include <optional>
#include <string_view>

namespace soma::runtime::security {

// Nothing unless `text` is exactly one JSON object without duplicate members at any depth, nested
// at most 16 deep.
std::optional<boost::json::object> parse_object(std::string_view text);

}  // namespace soma::runtime::security
