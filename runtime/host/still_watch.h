// Does a partition that serves get anywhere?
#pragma once

#include <algorithm>
#include <cstdint>

namespace soma::runtime {

// Looked at once a tick, from another thread than the partition's. It counts looks, not time, so
// that a process that was stopped for a while is not taken for one that hangs. A value.
class StillWatch {
 public:
  static constexpr std::int64_t kStillMs = 10'000, kLostMs = 60'000;
  enum class Verdict : std::uint8_t {
    kMoves,
    kStill,  // for so long that nobody should be sent here
    kLost    // only a restart helps
  };
  // `beats`: ticks that the partition took part in, but for those in one and the same round.
  Verdict look(bool serves, std::uint64_t beats, std::int64_t tick_ms) {
    if (!serves || beats != beats_) {
      beats_ = beats;
      looks_ = 0;
      return Verdict::kMoves;
    }
    ++looks_;
    const auto looks = [&](std::int64_t ms) {
      return std::max<std::int64_t>(2, ms / std::max<std::int64_t>(1, tick_ms));
    };
    return looks_ >= looks(kLostMs)    ? Verdict::kLost
           : looks_ >= looks(kStillMs) ? Verdict::kStill
                                       : Verdict::kMoves;
  }

 private:
  std::uint64_t beats_ = 0;
  std::int64_t looks_ = 0;
};

}  // namespace soma::runtime
