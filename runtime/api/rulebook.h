// Which policy rules are in force where, read from their actors and remembered as frames change
// them.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "runtime/host/host.h"
#include "soma/v1/policy.pb.h"
#include "soma/v1/rules.pb.h"

namespace soma::runtime::api {

// Owned by the node; thread-safe. What is remembered follows valid frames, which are told before
// the replies of their commands; where not all frames are seen, the actor is read each time.
class Rulebook {
 public:
  // Shared, since texts are long; null: there are none.
  using Rules = std::shared_ptr<const v1::PolicyRules>;
  struct InForce {
    Rules rules;
    bool global = false;  // the tenant has none of its own
  };
  // The tenant's own (an empty text is its own too), else the global ones. `done` runs at once when
  // both are remembered, else on a host thread.
  void in_force(Host& host, const std::string& tenant, std::function<void(Result<InForce>)> done);

  void follow(const events::ValidFrame& frame);  // every valid one

 private:
  std::optional<Rules> remembered(const std::string& tenant) const;
  void one(Host& host, const std::string& tenant, std::function<void(Result<Rules>)> done);

  static constexpr std::size_t kMaxRemembered = 1'000;  // texts of up to 256 KiB
  mutable std::mutex mutex_;
  std::map<std::string, Rules> known_;
};

// What a decision about the action needs of them, to be pushed with its command. A text that does
// not compile travels whole, and the decision refuses.
v1::RulesInForce rules_for(const Rulebook::InForce& in_force, const std::string& action_id);
// The whole text: what decisions about any action need.
v1::RulesInForce all_rules(const Rulebook::InForce& in_force);

}  // namespace soma::runtime::api
