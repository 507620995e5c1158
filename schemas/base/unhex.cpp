// One digit at a time: std::from_chars would take signs and blanks.
#include "schemas/base/unhex.h"

namespace soma {

namespace {

int digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

std::optional<std::string> unhex(std::string_view text) {
  if (text.size() % 2 != 0) return {};
  std::string out(text.size() / 2, '\0');
  for (std::size_t i = 0; i < text.size(); ++i) {
    const int d = digit(text[i]);
    if (d < 0) return {};
    out[i / 2] = static_cast<char>(out[i / 2] << 4 | d);
  }
  return out;
}

}  // namespace soma
