// Tags, varints and lengths.
#include "schemas/base/wire.h"

#include <algorithm>

namespace soma {

namespace {

void put_varint(std::string& out, std::uint64_t value) {
  while (value >= 0x80) {
    out.push_back(static_cast<char>(value | 0x80));
    value >>= 7;
  }
  out.push_back(static_cast<char>(value));
}

}  // namespace

bool WireReader::varint(std::uint64_t& out) {
  out = 0;
  for (int shift = 0; shift < 64 && !rest_.empty(); shift += 7) {
    const auto byte = static_cast<unsigned char>(rest_.front());
    rest_.remove_prefix(1);
    out |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
    if (byte < 0x80) return true;
  }
  return false;
}

std::optional<WireField> WireReader::next() {
  if (rest_.empty() || !ok_) return {};
  ok_ = false;  // until this field is read whole
  const std::string_view from = rest_;
  std::uint64_t tag = 0, length = 0;
  if (!varint(tag) || tag >> 3 == 0 || tag > 0xFFFFFFFF) return {};
  WireField f;
  f.number = static_cast<std::uint32_t>(tag >> 3);
  switch (tag & 7) {
    case 0:
      if (!varint(length)) return {};
      break;
    case 1:
    case 5: {
      const std::size_t size = (tag & 7) == 1 ? 8 : 4;
      if (rest_.size() < size) return {};
      rest_.remove_prefix(size);
      break;
    }
    case 2:
      if (!varint(length) || length > rest_.size()) return {};
      f.delimited = true;
      f.value = rest_.substr(0, length);
      rest_.remove_prefix(length);
      break;
    default:
      return {};  // groups: none of our schemas has one
  }
  if (f.number == last_number_) {
    f.occurrence = last_occurrence_ + 1;
  } else if (f.number < highest_) {  // not in the order of numbers: counted from the start
    WireReader before(all_.substr(0, all_.size() - from.size()));
    while (const auto earlier = before.next()) f.occurrence += earlier->number == f.number;
  }
  last_number_ = f.number;
  last_occurrence_ = f.occurrence;
  highest_ = std::max(highest_, f.number);
  f.whole = from.substr(0, from.size() - rest_.size());
  ok_ = true;
  return f;
}

void put_delimited(std::string& out, std::uint32_t number, std::string_view value) {
  put_varint(out, std::uint64_t{number} << 3 | 2);
  put_varint(out, value.size());
  out.append(value);
}

}  // namespace soma
