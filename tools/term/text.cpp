// UTF-8 by hand: the process's locale must not decide what a table looks like.
#include "tools/term/text.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

namespace soma::cli {

namespace {

struct Decoded {
  std::uint32_t point = 0xFFFD;
  std::size_t bytes = 1;
  bool valid = false;
};

Decoded decode(std::string_view text) {
  const auto lead = static_cast<unsigned char>(text[0]);
  if (lead < 0x80) return {lead, 1, true};
  const std::size_t bytes = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || text.size() < bytes) return {};
  std::uint32_t point = lead & (0xFFu >> (bytes + 1));
  for (std::size_t i = 1; i < bytes; ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if ((c & 0xC0) != 0x80) return {};
    point = point << 6 | (c & 0x3F);
  }
  const bool overlong = (bytes == 3 && point < 0x800) || (bytes == 4 && point < 0x10000);
  if (overlong || point > 0x10FFFF || (point >= 0xD800 && point < 0xE000)) return {};
  return {point, bytes, true};
}

using Range = std::pair<std::uint32_t, std::uint32_t>;

template <std::size_t N>
bool within(const std::array<Range, N>& ranges, std::uint32_t point) {
  return std::any_of(ranges.begin(), ranges.end(),
                     [&](const Range& r) { return point >= r.first && point <= r.second; });
}

// Combining marks, joiners and direction marks. Unicode 15, blocks rather than single characters.
constexpr std::array<Range, 13> kZero{{{0x0300, 0x036F},
                                       {0x0483, 0x0489},
                                       {0x0591, 0x05BD},
                                       {0x0610, 0x061A},
                                       {0x064B, 0x065F},
                                       {0x0E31, 0x0E31},
                                       {0x0E34, 0x0E3A},
                                       {0x1AB0, 0x1AFF},
                                       {0x1DC0, 0x1DFF},
                                       {0x200B, 0x200F},
                                       {0x20D0, 0x20FF},
                                       {0xFE00, 0xFE0F},
                                       {0xFE20, 0xFE2F}}};
// East Asian wide and emoji blocks.
constexpr std::array<Range, 12> kWide{{{0x1100, 0x115F},
                                       {0x231A, 0x231B},
                                       {0x2E80, 0x303E},
                                       {0x3041, 0x33FF},
                                       {0x3400, 0x4DBF},
                                       {0x4E00, 0x9FFF},
                                       {0xA000, 0xA4CF},
                                       {0xAC00, 0xD7A3},
                                       {0xF900, 0xFAFF},
                                       {0xFE30, 0xFE6F},
                                       {0xFF00, 0xFF60},
                                       {0x1F300, 0x1FAFF}}};
// Marks that turn the reading direction: they could make a line read as what it does not say.
constexpr std::array<Range, 2> kBidi{{{0x202A, 0x202E}, {0x2066, 0x2069}}};

std::size_t width_of(std::uint32_t point) {
  if (within(kZero, point)) return 0;
  return within(kWide, point) || (point >= 0x20000 && point <= 0x3FFFD) ? 2 : 1;
}

}  // namespace

std::size_t display_width(std::string_view text) {
  std::size_t width = 0;
  while (!text.empty()) {
    const Decoded d = decode(text);
    width += width_of(d.point);
    text.remove_prefix(d.bytes);
  }
  return width;
}

std::string cut(std::string_view text, std::size_t cells) {
  if (display_width(text) <= cells) return std::string(text);
  if (cells == 0) return {};
  std::string out;
  std::size_t width = 0;
  while (!text.empty()) {
    const Decoded d = decode(text);
    if (width + width_of(d.point) > cells - 1) break;
    width += width_of(d.point);
    out += text.substr(0, d.bytes);
    text.remove_prefix(d.bytes);
  }
  return out + "…";
}

std::string printable(std::string_view text, bool lines) {
  std::string out;
  while (!text.empty()) {
    const Decoded d = decode(text);
    const auto c = static_cast<unsigned char>(text[0]);
    if (!d.valid || within(kBidi, d.point) || (d.point >= 0x80 && d.point < 0xA0))
      out += "\xEF\xBF\xBD";  // the replacement character
    else if (c == '\n' || c == '\t')
      out.push_back(lines ? static_cast<char>(c) : ' ');
    else if (c < 0x20)
      out += {'\xE2', '\x90', static_cast<char>(0x80 + c)};  // ␛ and its like
    else if (c == 0x7F)
      out += "\xE2\x90\xA1";
    else
      out += text.substr(0, d.bytes);
    text.remove_prefix(d.bytes);
  }
  return out;
}

std::string wrap(std::string_view text, std::size_t cells, std::string_view indent) {
  const std::size_t room = std::max<std::size_t>(cells, display_width(indent) + 20);
  std::string out, line(indent);
  bool fresh = true;
  const auto flush = [&] {
    out += line + "\n";
    line = indent;
    fresh = true;
  };
  while (!text.empty()) {
    const auto end = std::min(text.find_first_of(" \n"), text.size());
    const std::string_view word = text.substr(0, end);
    if (!fresh && display_width(line) + 1 + display_width(word) > room) flush();
    if (!fresh) line += " ";
    line += word;
    fresh = false;
    if (end < text.size() && text[end] == '\n') flush();
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  if (!fresh) flush();
  return out;
}

}  // namespace soma::cli
