// Home, then line by line with the rest of each erased, then all below.
#include "tools/term/screen.h"

#include <algorithm>
#include <vector>

namespace soma::cli {

std::string redrawn(const std::string& picture, std::size_t rows, bool first) {
  std::vector<std::string> lines;
  for (std::size_t from = 0; from < picture.size();) {
    const auto end = std::min(picture.find('\n', from), picture.size());
    lines.push_back(picture.substr(from, end - from));
    from = end + 1;
  }
  // The last line of a terminal is left free: a line feed there would scroll.
  if (rows > 2 && lines.size() > rows - 1) {
    const std::size_t kept = rows - 2;
    const std::string missing = "… " + std::to_string(lines.size() - kept) + " more lines";
    lines.resize(kept);
    lines.push_back(missing);
  }
  std::string out = "\x1b[?25l";  // the cursor does not run over the picture
  out += first ? "\x1b[2J\x1b[H" : "\x1b[H";
  for (const auto& line : lines) out += line + "\x1b[K\r\n";
  return out + "\x1b[J\x1b[?25h";
}

}  // namespace soma::cli
