// Redrawing in place: what a terminal must be sent so that a new picture stands where the old one
// was.
#pragma once

#include <cstddef>
#include <string>

namespace soma::cli {

// The bytes that turn the screen into `picture`, at most `rows` - 1 lines of it (0: all) and a line
// that says how many are missing. Nothing is cleared before it is overwritten, so nothing flickers;
// only the first picture begins with an empty screen.
std::string redrawn(const std::string& picture, std::size_t rows, bool first);

}  // namespace soma::cli
