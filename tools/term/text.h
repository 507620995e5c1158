// Text for terminals: width in cells, cutting, and making foreign text safe to show.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace soma::cli {

// Cells that `text` (UTF-8) takes; combining marks take none, wide characters two.
std::size_t display_width(std::string_view text);
// At most `cells` wide; what is cut off shows as "…".
std::string cut(std::string_view text, std::size_t cells);
// Control characters (escape sequences too) and broken UTF-8 as visible signs. Newlines and tabs
// stay when `lines`, else become blanks.
std::string printable(std::string_view text, bool lines);
// Breaks at blanks, for lines of at most `cells`; each line begins with `indent`.
std::string wrap(std::string_view text, std::size_t cells, std::string_view indent);

}  // namespace soma::cli
