// A clock that the test moves.
#pragma once

#include <functional>
#include <map>
#include <utility>

#include "runtime/host/ports.h"

namespace soma::runtime {

struct HandClock final : Clock {
  std::int64_t now_ms() const override { return now; }
  std::int64_t steady_ms() const override { return now; }
  void call_in(std::int64_t delay_ms, std::function<void()> wake) override {
    call_at(now + delay_ms, std::move(wake));
  }
  void call_at(std::int64_t at_ms, std::function<void()> wake) override {
    alarms.emplace(at_ms, std::move(wake));
  }
  void pass(std::int64_t ms) {
    for (const auto until = now + ms; now < until; ++now)
      while (!alarms.empty() && alarms.begin()->first <= now) {
        auto wake = std::move(alarms.begin()->second);
        alarms.erase(alarms.begin());
        wake();
      }
  }
  std::int64_t now = 1000;
  std::multimap<std::int64_t, std::function<void()>> alarms;
};

}  // namespace soma::runtime
