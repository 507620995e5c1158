// The world that effects reach: providers that are slow, fail, answer garbage, and keep count.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>

#include "runtime/host/ports.h"
#include "runtime/sim/oracle.h"

namespace soma::sim {

// One for all processes; remembers what has really happened. Single-threaded.
class Outside {
 public:
  Outside(Ground& ground, Oracle& oracle)
      : ground_(ground),
        oracle_(oracle),
        rng_(ground.seed, "outside"),
        held_(ground.seed, "held") {}

  // Frames valid in the process's eyes feed its recall index.
  struct Memories {
    std::map<std::string, std::vector<std::pair<std::string, std::string>>> facts;  // by tenant
    void take(const events::ValidFrame& frame);
  };

  void run(const std::shared_ptr<Life>& life, const std::shared_ptr<Memories>& memories,
           runtime::EffectRunner::Job job, runtime::EffectRunner::OnOutcome done);
  void cancel(const std::string& process, const std::string& effect_id);
  std::uint64_t performed(const std::string& effect_id) const;  // outside, for at-most-once ones

 private:
  v1::EffectOutcome outcome(const runtime::EffectRunner::Job& job, const Memories& memories);
  std::string result(const runtime::EffectRunner::Job& job, const Memories& memories);

  Ground& ground_;
  Oracle& oracle_;
  Rng rng_, held_;
  std::map<std::string, std::uint64_t> performed_;
  std::set<std::string> cancelled_;  // process and effect id
};

// The port of one process.
std::unique_ptr<runtime::EffectRunner> make_runner(std::shared_ptr<Life> life, Outside& outside,
                                                   std::shared_ptr<Outside::Memories> memories);

}  // namespace soma::sim
