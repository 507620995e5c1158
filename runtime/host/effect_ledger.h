// Which effects are pending, and the difference that a new state makes.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "actors/decider.h"

namespace soma::runtime {

// Of one partition. A value; no I/O.
class EffectLedger {
 public:
  enum class State : std::uint8_t { kPending, kRunning, kReported, kUnknown };
  struct Item {
    actors::Effect effect;
    State state = State::kPending;
    std::int64_t since_ms = 0;
  };
  struct Change {
    std::vector<actors::Effect> start;  // new, or a new attempt
    std::vector<std::string> cancel;    // ids of running ones no longer wanted
  };

  // What must be done now that the actor's state calls for `effects`.
  Change update(const ActorKey& actor, std::vector<actors::Effect> effects, std::int64_t now_ms);
  Item* find(const ActorKey& actor, const std::string& effect_id, std::uint32_t attempt);
  std::size_t size() const { return size_; }
  const std::map<ActorKey, std::map<std::string, Item>>& all() const { return items_; }
  void clear();

 private:
  std::map<ActorKey, std::map<std::string, Item>> items_;
  std::size_t size_ = 0;
};

}  // namespace soma::runtime
