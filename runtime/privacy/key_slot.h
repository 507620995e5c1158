// A data key as it is kept, in a file or a topic: 128 bytes, encrypted under the master key.
#pragma once

#include <optional>
#include <string>

namespace soma::runtime::privacy {

struct KeySlot {
  // One sector of a disk holds four: a slot is never written in part, and its checksum tells if one
  // was.
  static constexpr std::size_t kBytes = 128;
  bool gone = false;
  std::string id;      // 16 bytes
  std::string who;     // 32 bytes, of tenant and subject, by the master key; zeros when gone
  std::string sealed;  // the key under the master key; zeros when gone
  std::string bytes() const;
  static KeySlot destroyed(std::string id);
  static std::optional<KeySlot> parse(std::string_view bytes);  // nothing: it does not check
};

// Whose a key is, which only the master key can tell.
std::string key_owner(const std::string& master, const std::string& tenant,
                      const std::string& subject);

}  // namespace soma::runtime::privacy
