// The swarm: a seed turns each kind off, on softly or on hard.
#include "runtime/sim/faults.h"

namespace soma::sim {

namespace {

constexpr std::uint32_t kHardOdds[] = {
#define SOMA_X(name, text, odds, number) odds,
    SOMA_SIM_FAULTS(SOMA_X)
#undef SOMA_X
};

}  // namespace

std::string_view fault_name(Fault fault) {
  switch (fault) {
#define SOMA_X(name, text, odds, number) \
  case Fault::name:                      \
    return text;
    SOMA_SIM_FAULTS(SOMA_X)
#undef SOMA_X
    case Fault::kCount:
      break;
  }
  return "?";
}

std::map<int, std::vector<std::string>> fault_catalogue() {
  std::map<int, std::vector<std::string>> out;
#define SOMA_X(name, text, odds, number) \
  if (number > 0) out[number].push_back(text);
  SOMA_SIM_FAULTS(SOMA_X)
#undef SOMA_X
  return out;
}

Faults::Faults(std::uint64_t seed, const std::set<std::string>& without) {
  Rng swarm(seed, "swarm");
  for (std::size_t i = 0; i < kFaults; ++i) {
    streams_.emplace_back(seed, fault_name(static_cast<Fault>(i)));
    const std::uint64_t how = swarm.below(5);  // two in five off, two soft, one hard
    odds_[i] = how < 2 ? 0 : how < 4 ? (kHardOdds[i] + 4) / 5 : kHardOdds[i];
    if (kHardOdds[i] == 0 || without.contains(std::string(fault_name(static_cast<Fault>(i)))))
      odds_[i] = 0;
  }
}

bool Faults::draw(Fault fault) {
  const auto i = static_cast<std::size_t>(fault);
  if (stopped_ || odds_[i] == 0 || !streams_[i].chance(odds_[i])) return false;
  ++counts_[i];
  return true;
}

std::map<std::string, std::uint64_t> Faults::counts() const {
  std::map<std::string, std::uint64_t> out;
  for (std::size_t i = 0; i < kFaults; ++i)
    out.emplace(fault_name(static_cast<Fault>(i)), counts_[i]);
  return out;
}

}  // namespace soma::sim
