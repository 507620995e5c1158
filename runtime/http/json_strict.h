// JSON bodies of requests: read strictly, within limits.
#pragma once

#include "schemas/json/json_read.h"

namespace soma::runtime::http {

inline constexpr JsonLimits kBodyLimits{.max_bytes = 32 * 1024 * 1024, .max_members = 10'000};

// As read_json(); the error's field is `body`.
Result<boost::json::value> parse_json_strict(std::string_view text,
                                             const JsonLimits& limits = kBodyLimits);

}  // namespace soma::runtime::http
