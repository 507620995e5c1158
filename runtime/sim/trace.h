// What happened, line by line, as one SHA-256: the same seed gives the same hash.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <string>

namespace soma::sim {

class Trace {
 public:
  using Print = std::function<void(const std::string& line)>;
  explicit Trace(Print print = nullptr) : print_(std::move(print)) {}

  void line(std::int64_t now_us, const std::string& text);
  std::string hash();  // hex, of all lines so far
  std::uint64_t lines() const { return lines_; }
  const std::deque<std::string>& tail() const { return tail_; }  // the newest lines

 private:
  static constexpr std::size_t kTail = 60;

  Print print_;
  std::string pending_;
  std::string hash_;
  std::uint64_t lines_ = 0;
  std::deque<std::string> tail_;
};

}  // namespace soma::sim
