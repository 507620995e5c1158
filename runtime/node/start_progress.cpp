// A clock, and what was seen last.
#include "runtime/node/start_progress.h"

#include <utility>

#include "runtime/telemetry/log.h"

namespace soma::runtime {

namespace {
constexpr std::chrono::seconds kStandsStill{30}, kTellEvery{5};
}

Status StartProgress::look(std::uint64_t frames) {
  const auto now = Clock::now();
  if (std::exchange(frames_, frames) != frames) moved_ = now;
  if (now - moved_ > kStandsStill)
    return fail(Code::kUnavailable, "the partitions did not come up, nor read on, within 30 s");
  if (now - told_ > kTellEvery) {
    told_ = now;
    log_info("the journal is being read", {{"frames", frames}});
  }
  return {};
}

}  // namespace soma::runtime
