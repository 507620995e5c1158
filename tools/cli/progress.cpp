// Draws at most ten times a second.
#include "tools/cli/progress.h"

#include <unistd.h>

#include <algorithm>
#include <iostream>

namespace soma::cli {

namespace {
using namespace std::chrono_literals;
constexpr auto kQuiet = 400ms;   // shorter work shows nothing
constexpr auto kRedraw = 100ms;  // on a terminal
constexpr auto kLine = 5s;       // elsewhere
}  // namespace

std::string progress_bar(const std::string& what, std::uint64_t done, std::uint64_t total) {
  if (total == 0) return what + "  " + std::to_string(done);
  constexpr std::uint64_t kCells = 24;
  const std::uint64_t part = std::min(done, total);
  const auto filled = static_cast<std::size_t>(part * kCells / total);
  return what + "  [" + std::string(filled, '#') + std::string(kCells - filled, '.') + "]  " +
         std::to_string(part * 100 / total) + " %  " + std::to_string(done) + "/" +
         std::to_string(total);
}

Progress::Progress(std::string what, std::uint64_t total)
    : what_(std::move(what)), total_(total), terminal_(::isatty(2) != 0) {}

void Progress::at(std::uint64_t done, std::uint64_t total, const std::string& extra) {
  total_ = total;
  const auto now = Clock::now();
  if (now - began_ < kQuiet || now - shown_ < (terminal_ ? Clock::duration(kRedraw) : kLine))
    return;
  shown_ = now;
  drawn_ = true;
  const std::string text = progress_bar(what_, done, total) + (extra.empty() ? "" : "  " + extra);
  if (terminal_)
    std::cerr << "\r" << text << "\x1b[K" << std::flush;
  else
    std::cerr << text << std::endl;
}

void Progress::end() {
  if (drawn_ && terminal_) std::cerr << "\r\x1b[K" << std::flush;
  drawn_ = false;
}

}  // namespace soma::cli
