// Messages made from bytes: of the right shape, with values that meet each other and values at the
// edges.
#pragma once

#include <google/protobuf/message.h>

#include <cstdint>
#include <iterator>
#include <limits>
#include <memory>
#include <string>

namespace soma::fuzz {

// What a fuzzer gave, read once from front to back; zeros behind its end.
class Bytes {
 public:
  Bytes(const std::uint8_t* data, std::size_t size) : data_(data), size_(size) {}
  bool empty() const { return at_ >= size_; }
  std::uint8_t next() { return empty() ? 0 : data_[at_++]; }
  std::size_t below(std::size_t n) { return next() % n; }

  std::int64_t number() {
    static constexpr std::int64_t kEdges[] = {-1,
                                              0,
                                              1,
                                              2,
                                              1'000,
                                              1'000'000,
                                              3'600'000,
                                              1'700'000'000'000,
                                              std::numeric_limits<std::int64_t>::max(),
                                              std::numeric_limits<std::int64_t>::min()};
    const std::uint8_t how = next();
    return how < 128 ? how % 64 : kEdges[how % std::size(kEdges)];
  }

  // Few words, so that ids meet; at times the raw bytes.
  std::string word() {
    static constexpr const char* kWords[] = {"",
                                             "a",
                                             "b",
                                             "c",
                                             "acme",
                                             "ana",
                                             "bob",
                                             "tenant",
                                             "user",
                                             "tokens",
                                             "requests",
                                             "money",
                                             "hour",
                                             "day",
                                             "total",
                                             "test",
                                             "UTC",
                                             "shell",
                                             "tool:use",
                                             "*",
                                             "production",
                                             "session",
                                             "call",
                                             "counter",
                                             "{}",
                                             "[1]",
                                             "permit(principal, action, resource);",
                                             "user:*",
                                             "k1",
                                             "1-0",
                                             "?",
                                             "developer-light"};
    const std::uint8_t how = next();
    if (how < 240) return kWords[how % std::size(kWords)];
    std::string raw;
    for (std::size_t n = below(24); n > 0; --n) raw.push_back(static_cast<char>(next() % 128));
    return raw;
  }

 private:
  const std::uint8_t* data_;
  const std::size_t size_;
  std::size_t at_ = 0;
};

// As it would be stored and read again.
std::unique_ptr<google::protobuf::Message> stored_copy(const google::protobuf::Message& message);

// Sets some of the fields, deeper ones more seldom; of a oneof one.
void fill(google::protobuf::Message& message, Bytes& bytes, int depth = 0);

}  // namespace soma::fuzz
