// Three bytes to four letters.
#include "schemas/base/base64.h"

namespace soma {

namespace {
constexpr std::string_view kAlphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
}  // namespace

std::string base64(std::string_view bytes) {
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const auto byte = [&](std::size_t at) {
      return at < bytes.size() ? static_cast<unsigned char>(bytes[at]) : 0u;
    };
    const unsigned group = byte(i) << 16 | byte(i + 1) << 8 | byte(i + 2);
    for (int shift = 18; shift >= 0; shift -= 6) out += kAlphabet[group >> shift & 63];
  }
  if (bytes.size() % 3)
    out.replace(out.size() - (3 - bytes.size() % 3), 3, 3 - bytes.size() % 3, '=');
  return out;
}

std::optional<std::string> unbase64(std::string_view text) {
  const std::string_view letters = text.substr(0, text.find('='));
  std::string out;
  unsigned bits = 0;
  for (std::size_t i = 0; i < letters.size(); ++i) {
    const auto value = kAlphabet.find(letters[i]);
    if (value == std::string_view::npos) return {};
    bits = bits << 6 | static_cast<unsigned>(value);
    if (i % 4) out += static_cast<char>(bits >> (6 - 2 * (i % 4)) & 0xff);
  }
  if (base64(out) != text) return {};  // a length, padding or last bits that no bytes have
  return out;
}

}  // namespace soma
