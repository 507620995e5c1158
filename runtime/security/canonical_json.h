// Canonical JSON: the one text of a document that is hashed and signed.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "schemas/base/errors.h"

namespace soma::runtime::security {

inline constexpr std::size_t kMaxCanonicalDepth = 64;

// Exactly what Python's json.dumps(x, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
// gives for the parsed text: keys in code point order, integers of any size digit for digit, other
// numbers as the shortest decimal of the nearest double, non-ASCII as \uXXXX. kMalformed for what
// is not one JSON value, for a key that stands twice, and for a number beyond a double's range.
Result<std::string> canonical_json(std::string_view text);
// The canonical text of one member of a canonical object; nothing when it has none, or is none.
std::optional<std::string> canonical_member(std::string_view canonical_object,
                                            std::string_view name);

}  // namespace soma::runtime::security
