// Cuts a server-sent event stream into the data of its events.
#pragma once

#include <string>
#include <string_view>

namespace soma::runtime {

// Fed bytes as they arrive, in pieces cut anywhere. Only `data:` lines matter here; comments and
// other fields are skipped. Lines end with LF or CR LF.
class SseParser {
 public:
  explicit SseParser(std::size_t max_event_bytes) : max_(max_event_bytes) {}

  // False when one event is longer than allowed.
  template <typename OnData>
  bool feed(std::string_view bytes, OnData on_data) {
    while (!bytes.empty()) {
      const auto end = bytes.find('\n');
      if (end == std::string_view::npos) {
        if (line_.size() + bytes.size() + data_.size() > max_) return false;
        line_.append(bytes);
        return true;
      }
      if (line_.size() + end + data_.size() > max_) return false;
      if (line_.empty()) {
        take_line(bytes.substr(0, end), on_data);
      } else {
        line_.append(bytes.substr(0, end));
        take_line(line_, on_data);
        line_.clear();
      }
      bytes.remove_prefix(end + 1);
    }
    return true;
  }
  // Data of an event whose closing empty line has not come.
  std::string_view unfinished() const {
    return has_data_ ? std::string_view(data_) : std::string_view();
  }

 private:
  template <typename OnData>
  void take_line(std::string_view line, OnData& on_data) {
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    if (line.empty()) {
      if (has_data_) on_data(std::string_view(data_));
      data_.clear();
      has_data_ = false;
      return;
    }
    if (!line.starts_with("data:")) return;
    line.remove_prefix(5);
    if (line.starts_with(' ')) line.remove_prefix(1);
    if (has_data_) data_ += '\n';
    data_.append(line);
    has_data_ = true;
  }

  const std::size_t max_;
  std::string line_, data_;
  bool has_data_ = false;
};

}  // namespace soma::runtime
