// A failing world made small: fewer steps, faults, workloads, clients; the same invariant is
// violated.
#pragma once

#include <functional>

#include "runtime/sim/world.h"

namespace soma::sim {

struct Shrunk {
  Options options;
  Report report;            // of the smallest world found
  std::uint64_t tried = 0;  // worlds run
};

// `options` must fail with `failed`; `on_smaller` hears of each smaller world that fails likewise.
// Takes away one thing after another as long as that helps, for at most `budget` worlds.
Shrunk shrink(Options options, Report failed, std::uint64_t budget = 2'000,
              const std::function<void(const Options&, const Report&)>& on_smaller = {});

}  // namespace soma::sim
