// Whole worlds by seed: the kept ones that once failed, and a fixed set; and the same seed twice.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iostream>
#include <sstream>

#include "runtime/sim/world.h"
#include "runtime/telemetry/log.h"

namespace soma::sim {
namespace {

constexpr std::uint64_t kSteps = 20'000;

Report run_seed(std::uint64_t seed, std::uint64_t steps) {
  Options options;
  options.seed = seed;
  options.steps = steps;
  if (std::getenv("SOMA_SIM_TRACE"))
    options.print = [](const std::string& line) { std::cerr << line << "\n"; };
  return run(options);
}

void expect_ok(const Report& r, std::uint64_t steps) {
  if (!r.violation) return;
  ADD_FAILURE() << "seed " << r.seed << " step " << r.violation_step << ": "
                << r.violation->invariant << " at " << to_string(r.violation->at) << ": "
                << r.violation->what << "\nsee it: soma sim run --seed " << r.seed << " --steps "
                << steps << " --trace";
}

class Simulation : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    runtime::configure_logging({runtime::LogLevel::kOff, runtime::LogOptions::Format::kText});
  }
};

// SOMA_SIM_SEEDS=FIRST:LAST runs others instead.
TEST_F(Simulation, SixtySeedsHoldEveryInvariant) {
  std::uint64_t first = 1, last = 60;
  if (const char* given = std::getenv("SOMA_SIM_SEEDS"))
    std::sscanf(given, "%lu:%lu", &first, &last);
  std::map<std::string, std::uint64_t> faults;
  std::uint64_t acknowledged = 0;
  for (std::uint64_t seed = first; seed <= last; ++seed) {
    const Report r = run_seed(seed, kSteps);
    expect_ok(r, kSteps);
    acknowledged += r.acknowledged;
    for (const auto& [name, count] : r.faults) faults[name] += count;
  }
  EXPECT_GT(acknowledged, (last - first + 1) * 100);  // the worlds do real work
  if (last - first + 1 < 60) return;
  for (const auto& [name, count] : faults) EXPECT_GT(count, 0u) << name << " was never injected";
}

TEST_F(Simulation, SeedsThatFailedOnceHold) {
  const char* path = std::getenv("SOMA_SIM_SEED_FILE");
  ASSERT_NE(path, nullptr);
  std::ifstream file(path);
  ASSERT_TRUE(file) << path;
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line[0] == '#') continue;
    std::istringstream in(line);
    std::uint64_t seed = 0, steps = 0;
    ASSERT_TRUE(in >> seed >> steps) << line;
    expect_ok(run_seed(seed, steps), steps);
  }
}

// SOMA_SIM_TWICE=N runs so many seeds instead.
TEST_F(Simulation, SameSeedSameTrace) {
  const char* given = std::getenv("SOMA_SIM_TWICE");
  const std::uint64_t seeds = given ? std::strtoull(given, nullptr, 10) : 4;
  std::uint64_t same = 0;
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    const Report a = run_seed(seed, 5'000), b = run_seed(seed, 5'000);
    EXPECT_EQ(a.trace_hash, b.trace_hash) << "seed " << seed;
    EXPECT_EQ(a.steps, b.steps);
    same += a.trace_hash == b.trace_hash;
  }
  std::cout << "GATE R3 " << same << " seeds twice " << (same == seeds ? "PASS" : "FAIL") << "\n";
  EXPECT_NE(run_seed(3, 5'000).trace_hash, run_seed(4, 5'000).trace_hash);
}

}  // namespace
}  // namespace soma::sim
