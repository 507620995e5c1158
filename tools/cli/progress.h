// Progress of long work, on stderr: a bar on a terminal, else a line every few seconds.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace soma::cli {

// Quiet while the work is short.
class Progress {
 public:
  Progress(std::string what, std::uint64_t total);  // total 0: not known
  ~Progress() { end(); }
  // `extra` stands behind the bar: "120000 events/s".
  void at(std::uint64_t done, std::uint64_t total, const std::string& extra = {});
  void at(std::uint64_t done) { at(done, total_); }
  void end();  // takes the bar away

 private:
  using Clock = std::chrono::steady_clock;
  const std::string what_;
  std::uint64_t total_;
  const bool terminal_;
  const Clock::time_point began_ = Clock::now();
  Clock::time_point shown_ = began_;
  bool drawn_ = false;
};

// The bar's text: "verify  [#####.....]  50 %  1200/2400".
std::string progress_bar(const std::string& what, std::uint64_t done, std::uint64_t total);

}  // namespace soma::cli
