// Whether a text is JSON, for those who only pass it on.
#pragma once

#include <string_view>

namespace soma {

// One JSON object and nothing behind it, at most 32 levels deep.
bool is_json_object(std::string_view text);

}  // namespace soma
