// Fields of a serialized protobuf message, without its schema.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace soma {

struct WireField {
  std::uint32_t number = 0;
  std::uint32_t occurrence = 0;  // among those of this number, in this message, from 0
  bool delimited = false;        // a string, bytes, a message or packed numbers
  std::string_view value;        // of a delimited one
  std::string_view whole;        // with tag and length
};

// Reads one message's fields in order. Not thread-safe; the bytes outlive it.
class WireReader {
 public:
  explicit WireReader(std::string_view bytes) : all_(bytes), rest_(bytes) {}
  // Nothing at the end, and where the bytes are no message: then ok() is false.
  std::optional<WireField> next();
  bool ok() const { return ok_; }

 private:
  bool varint(std::uint64_t& out);
  const std::string_view all_;
  std::string_view rest_;
  bool ok_ = true;
  std::uint32_t last_number_ = 0, last_occurrence_ = 0, highest_ = 0;
};

void put_delimited(std::string& out, std::uint32_t number, std::string_view value);

}  // namespace soma
