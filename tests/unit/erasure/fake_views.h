// Views that are made anew when the test says so.
#pragma once

#include <atomic>
#include <cstdlib>

#include "projections/projections.h"

namespace soma::runtime::erasure {

struct FakeViews final : projections::Projections {
  std::atomic<bool> passive{true};
  std::atomic<int> begun{0}, waits{0};
  std::atomic<int> made{0};  // so many of those that were begun

  projections::Over start_over() override {
    return projections::Over{static_cast<std::uint64_t>(++begun)};
  }
  Result<bool> wait_over(projections::Over over, std::int64_t) override {
    ++waits;
    if (static_cast<int>(over) <= made) return true;
    return fail(Code::kDeadlineExceeded, "slow");
  }
  projections::Report report() const override {
    projections::Report r;
    r.passive = passive;
    return r;
  }
  Status health() const override { return {}; }

  void shut_down() override {}
  bool wait_ready(std::int64_t) override { return true; }
  Result<projections::SessionPage> list_sessions(const std::string&, const std::string&,
                                                 std::size_t, const std::string&) override {
    std::abort();
  }
  bool wait_for(Position, std::int64_t) override { return true; }
  std::uint64_t lag() const override { return 0; }
  Status start_rebuild(const std::string&) override { std::abort(); }
  Status rebuild() override { std::abort(); }
  Result<std::string> digest() override { std::abort(); }
  Result<std::string> actor_digest(const std::string&, const std::string&,
                                   const std::string&) override {
    std::abort();
  }
  Result<projections::Verification> verify(const std::optional<std::string>&) override {
    std::abort();
  }
};

}  // namespace soma::runtime::erasure
