// A load within this process, measured between its first second and its end.
#pragma once

#include <unistd.h>

#include <chrono>
#include <memory>
#include <thread>

#include "tools/bench/figures.h"
#include "tools/bench/stack.h"

namespace soma::bench {

// `load` has begun. It counts between count(true) and count(false), and end_all() says whether all
// that was open came to its end.
template <typename Load>
Result<Figures> measured(const Options& o, Load& load) {
  const auto pause = [](double s) {
    std::this_thread::sleep_for(std::chrono::duration<double>(s));
  };
  pause(1);
  auto profile = profile_of_this(o);
  const double cpu = cpu_seconds();
  const auto began = Clock::now();
  load.count(true);
  pause(o.seconds);
  load.count(false);
  const double seconds = ms_since(began) / 1000;
  const double used = cpu_seconds() - cpu;
  profile.reset();
  if (!load.end_all())
    return fail(Code::kInternal, "what was under way did not end within two minutes");
  Figures f = figures_of(load.latencies(), seconds);
  f.cpu_s = used;
  f.rss_mb = usage_of({::getpid()}).rss_mb;
  f.errors = load.errors();
  return f;
}

}  // namespace soma::bench
