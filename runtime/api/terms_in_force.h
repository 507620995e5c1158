// What is in force when a model call is about to be sent, against what it was allowed under.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "runtime/api/api.h"
#include "runtime/api/rulebook.h"
#include "soma/v1/approval.pb.h"

namespace soma::runtime::api {

class Guards;

// Thread-safe; owned by the node. Nothing is read while nothing was changed: what a tenant's
// settings, constitution and rules are is remembered until a frame may have changed it, where the
// host observes all frames.
class TermsInForce {
 public:
  TermsInForce(const Node& node, Guards& guards) : node_(node), guards_(guards) {}

  // Nothing: the call may be sent, as what it was allowed under holds. Else what does, for its
  // decider to judge it again: the kill switch is on, who asked may not any more, or others are in
  // force. What cannot be read is an error, and nothing is sent. Waits for a node that is starting.
  using Done = std::function<void(Result<std::optional<v1::StartTerms>>)>;
  void look(const std::string& tenant, const v1::CallTerms& allowed, Done done);

  void follow(const events::ValidFrame& frame);  // every valid one, after the guards

 private:
  struct Current {
    v1::TenantSettings settings;
    v1::ConstitutionInForce constitution;  // no hash: none is in force
    Rulebook::InForce rules;
  };
  using Known = std::shared_ptr<const Current>;
  void current(const std::string& tenant, std::function<void(Result<Known>)> done);
  void read(const std::string& tenant, std::function<void(Result<Current>)> done);
  void remember(const std::string& tenant, Known known);  // under the mutex
  void judge(const std::string& tenant, const v1::CallTerms& allowed, const Known& now,
             const Done& done);

  static constexpr std::size_t kMaxRemembered = 1'000;  // tenants
  const Node& node_;
  Guards& guards_;
  std::mutex mutex_;
  std::uint64_t changes_ = 0;  // frames that may have changed something
  std::map<std::string, Known> known_;
};

}  // namespace soma::runtime::api
