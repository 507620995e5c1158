// Texts cut to a length.
#pragma once

#include <string>

namespace soma {

// At most `bytes` of the text, cut at a character boundary of UTF-8.
std::string cut_text(const std::string& text, std::size_t bytes);

}  // namespace soma
