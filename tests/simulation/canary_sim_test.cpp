// The simulator can see: each planted bug is found within a bounded number of seeds.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <iostream>
#include <vector>

#include "runtime/sim/shrink.h"
#include "runtime/telemetry/log.h"
#include "schemas/base/planted.h"
#include "tests/simulation/planted_deciders.h"

namespace soma {

Bug planted_bug = Bug::kNone;

namespace {

struct Canary {
  Bug bug;
  const char* name;
  sim::Twist twist = nullptr;  // a bug of a decider; the checks decide with it too
};

std::vector<double> seconds_to_find;

constexpr std::uint64_t kSeeds = 400, kSteps = 12'000;

class Canaries : public ::testing::TestWithParam<Canary> {
 protected:
  void SetUp() override {
    runtime::configure_logging({runtime::LogLevel::kOff, runtime::LogOptions::Format::kText});
    planted_bug = GetParam().bug;
  }
  void TearDown() override { planted_bug = Bug::kNone; }
};

TEST_P(Canaries, IsFound) {
  const auto began = std::chrono::steady_clock::now();
  for (std::uint64_t seed = 1; seed <= kSeeds; ++seed) {
    sim::Options options;
    options.seed = seed;
    options.steps = kSteps;
    if (const auto& twist = GetParam().twist)
      options.catalog = [&twist] {
        return sim::make_twisted_catalog(actors::standard_catalog(), twist);
      };
    const sim::Report r = sim::run(options);
    if (!r.violation) continue;
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
    seconds_to_find.push_back(took.count());
    std::cout << GetParam().name << ": seed " << seed << ", step " << r.violation_step << ", "
              << r.violation->invariant << ": " << r.violation->what << "\n";
    return;
  }
  FAIL() << GetParam().name << " was not found in " << kSeeds << " seeds";
}

INSTANTIATE_TEST_SUITE_P(
    Planted, Canaries,
    ::testing::Values(
        Canary{Bug::kAckBeforeDurable, "AckBeforeDurable"},
        Canary{Bug::kFenceIgnored, "FenceIgnored"}, Canary{Bug::kDedupeSkipped, "DedupeSkipped"},
        Canary{Bug::kEffectNotRearmed, "EffectNotRearmed"},
        Canary{Bug::kHighWaterForgotten, "HighWaterForgotten"},
        Canary{Bug::kSequenceRepeats, "SequenceRepeats"},
        Canary{Bug::kStaleSnapshotWins, "StaleSnapshotWins"},
        Canary{Bug::kTimerEarly, "TimerEarly"}, Canary{Bug::kParkedForgotten, "ParkedForgotten"},
        Canary{Bug::kObserverGap, "ObserverGap"}, Canary{Bug::kOutboxForgotten, "OutboxForgotten"},
        Canary{Bug::kAtMostOnceRunsAgain, "AtMostOnceRunsAgain"},
        Canary{Bug::kFullQueueDrops, "FullQueueDrops"}, Canary{Bug::kStandbyGap, "StandbyGap"},
        Canary{Bug::kStandbySendsDropped, "StandbySendsDropped"},
        Canary{Bug::kStoreErrorIgnored, "StoreErrorIgnored"},
        Canary{Bug::kCursorBesideRows, "CursorBesideRows"},
        Canary{Bug::kCommitTrusted, "CommitTrusted"}, Canary{Bug::kForeignUnseen, "ForeignUnseen"},
        Canary{Bug::kRelayOvertakes, "RelayOvertakes"},
        Canary{Bug::kNone, "OwnSecondKey", own_second_key},
        Canary{Bug::kNone, "RejectionIgnored", rejection_ignored},
        Canary{Bug::kNone, "LimitForgotten", limit_forgotten},
        Canary{Bug::kNone, "LockGivenTwice", lock_given_twice},
        Canary{Bug::kNone, "SecondKeyLeftOut", second_key_left_out},
        Canary{Bug::kNone, "AllowedForEver", allowed_for_ever},
        Canary{Bug::kNone, "DelegateForgotten", delegate_forgotten},
        Canary{Bug::kNone, "CallsUnjudged", calls_unjudged},
        Canary{Bug::kNone, "WindowRestarts", window_restarts}),
    [](const auto& info) { return std::string(info.param.name); });

// A failing world can be made small, and still shows the same.
TEST(Shrinking, KeepsTheViolation) {
  runtime::configure_logging({runtime::LogLevel::kOff, runtime::LogOptions::Format::kText});
  planted_bug = Bug::kAtMostOnceRunsAgain;
  sim::Options options;
  sim::Report failed;
  for (options.seed = 1; options.seed <= kSeeds && !failed.violation; ++options.seed) {
    options.steps = kSteps;
    failed = sim::run(options);
    if (failed.violation) break;
  }
  ASSERT_TRUE(failed.violation);
  const sim::Shrunk small = sim::shrink(options, failed, 60);
  const sim::Report again = sim::run(small.options);
  planted_bug = Bug::kNone;
  const auto kinds = [](const sim::Report& r) {
    return std::count_if(r.faults.begin(), r.faults.end(),
                         [](const auto& f) { return f.second > 0; });
  };
  ASSERT_TRUE(small.report.violation);
  EXPECT_EQ(small.report.violation->invariant, failed.violation->invariant);
  EXPECT_LE(small.options.steps, failed.violation_step);
  EXPECT_GE(small.options.without.size(), 5u);
  // Fewer faults let clients come further: what gets smaller is what goes wrong, not what is asked.
  EXPECT_LT(kinds(small.report), kinds(failed));
  ASSERT_TRUE(again.violation) << "it can be repeated";
  EXPECT_EQ(again.violation->what, small.report.violation->what);
  std::cout << "from " << kinds(failed) << " kinds of faults and " << failed.violation_step
            << " steps to " << kinds(small.report) << " and " << small.options.steps << "\n";
}

class Median : public ::testing::Environment {
  void TearDown() override {
    if (seconds_to_find.empty()) return;
    std::sort(seconds_to_find.begin(), seconds_to_find.end());
    std::cout << "GATE R4.median " << seconds_to_find[seconds_to_find.size() / 2] << " s of "
              << seconds_to_find.size() << " found\n";
  }
};
const auto* const kMedian = ::testing::AddGlobalTestEnvironment(new Median);

}  // namespace
}  // namespace soma
