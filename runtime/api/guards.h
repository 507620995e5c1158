// What stands between a request and the actors, in one place: keys, admission, constitutions,
// rules, mode, kill switch.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string_view>
#include <vector>

#include "runtime/api/admission.h"
#include "runtime/api/api.h"
#include "runtime/api/constitutions.h"
#include "runtime/api/deployment.h"
#include "runtime/api/kill_switch.h"
#include "runtime/api/rate_limiter.h"
#include "runtime/api/rulebook.h"
#include "runtime/security/authenticator.h"

namespace soma::runtime::api {

// Owned by the node, made before the host and gone after it. Thread-safe.
class Guards {
 public:
  Guards(const std::string& mode, bool kill_switch);  // settings
  // `configured` keys may sign constitutions in every mode, `developer` ones in developer modes.
  // The options' mode is set here. kInvalidArgument names the setting at fault.
  Status open(security::AuthOptions options, security::TrustedKeys configured,
              security::TrustedKeys developer);

  void give(Node& node);  // its members that are guards, and what they publish
  void follow(const events::ValidFrame& frame);  // every valid one
  Status load(Host& host);  // what was recorded before this start; waits for the actors
  // Once load() has succeeded; at once if it has. Until then the guards know less than they must.
  void when_loaded(std::function<void()> what);
  // The header's caller; who is known not to be admitted is refused here, before anything else of
  // the request is judged. kUnavailable until load() has succeeded: what is not known yet must not
  // be answered with a refusal that is final.
  Result<security::Identity> authenticate(std::optional<std::string_view> header) const;

  KillSwitch kill_switch;
  Deployment deployment;
  RateLimiter rates;
  Rulebook rulebook;
  std::unique_ptr<security::Authenticator> authenticator;
  std::unique_ptr<Constitutions> constitutions;
  std::unique_ptr<Admission> admission;

 private:
  void mode_changed(const std::string& mode);

  std::mutex loaded_mutex_;
  std::atomic<bool> loaded_{false};
  std::vector<std::function<void()>> waiting_;
};

}  // namespace soma::runtime::api
