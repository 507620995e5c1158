// Cuts a server-sent event stream into the data of its events.
#pragma once

#include <functional>
#include <string>
#include <string_view>

namespace soma::runtime {

// Fed bytes as they arrive. Only `data:` lines matter here; comments and other fields are skipped.
class SseParser {
 public:
  explicit SseParser(std::size_t max_event_bytes) : max_(max_event_bytes) {}
  // False when one event is longer than allowed.
  template <typename OnData>
  bool feed(std::string_view bytes, OnData on_data) {
    buffer_.append(bytes);
    for (;;) {
      const auto end = buffer_.find('\n');
      if (end == std::string::npos) return buffer_.size() + data_.size() <= max_;
      std::string line = buffer_.substr(0, end);
      buffer_.erase(0, end + 1);
      if (!line.empty() && line.back() == '\r') line.pop_back();
      if (line.empty()) {
        if (!data_.empty()) on_data(std::string_view(data_));
        data_.clear();
      } else if (line.starts_with("data:")) {
        if (!data_.empty()) data_ += '\n';
        data_.append(line, line.size() > 5 && line[5] == ' ' ? 6 : 5);
      }
    }
  }
  bool empty() const { return buffer_.empty() && data_.empty(); }

 private:
  const std::size_t max_;
  std::string buffer_, data_;
};

}  // namespace soma::runtime
