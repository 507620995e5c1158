// Protobuf's wire format, as far as needed.
#include "tools/auditor/entry.h"

#include <cstdint>
#include <functional>
#include <optional>

namespace soma::auditor {

namespace {

std::optional<std::uint64_t> varint(std::string_view& bytes) {
  std::uint64_t n = 0;
  for (int shift = 0; shift < 64 && !bytes.empty(); shift += 7) {
    const auto b = static_cast<unsigned char>(bytes.front());
    bytes.remove_prefix(1);
    n |= static_cast<std::uint64_t>(b & 0x7f) << shift;
    if (b < 0x80) return n;
  }
  return {};
}

// Visits length-delimited fields; false when the bytes are no message.
bool fields(std::string_view bytes,
            const std::function<void(std::uint64_t, std::string_view)>& visit) {
  while (!bytes.empty()) {
    const auto tag = varint(bytes);
    if (!tag) return false;
    std::uint64_t length = 0;
    switch (*tag & 7) {
      case 0:
        if (!varint(bytes)) return false;
        continue;
      case 1:
        length = 8;
        break;
      case 5:
        length = 4;
        break;
      case 2: {
        const auto given = varint(bytes);
        if (!given) return false;
        length = *given;
        break;
      }
      default:
        return false;
    }
    if (length > bytes.size()) return false;
    if ((*tag & 7) == 2) visit(*tag >> 3, bytes.substr(0, length));
    bytes.remove_prefix(length);
  }
  return true;
}

}  // namespace

bool holds_event(std::string_view entry, std::string_view event_id) {
  bool found = false;
  const bool whole = fields(entry, [&](std::uint64_t field, std::string_view event) {
    if (field != 5) return;
    fields(event, [&](std::uint64_t inner, std::string_view id) {
      found |= inner == 1 && id == event_id;
    });
  });
  return whole && found && !event_id.empty();
}

}  // namespace soma::auditor
