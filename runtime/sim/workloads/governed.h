// What workloads of governed work have in common.
#pragma once

#include <map>
#include <string>

#include "actors/actor_type.h"
#include "actors/tenant/tenant.h"
#include "runtime/sim/workload.h"
#include "soma/v1/policy.pb.h"
#include "soma/v1/session.pb.h"
#include "soma/v1/tenant.pb.h"

namespace soma::sim {

template <typename Command>
Op make_op(ActorKey actor, const Command& command, std::string subject = {}) {
  Op op;
  op.actor = std::move(actor);
  op.command = actors::deterministic_bytes(command);
  op.subject = std::move(subject);
  return op;
}

// Allowed by every weight and threshold, unless `risk` is 1.
inline v1::PolicyInput policy_input(double risk = 0.1) {
  v1::PolicyInput p;
  p.set_action_id("simulated");
  p.set_capability("session.write");
  p.set_risk_score(risk);
  p.set_confidence(0.9);
  return p;
}

inline v1::TenantSettings tenant_settings(std::int64_t budget) {
  v1::TenantSettings s;
  s.set_deployment_mode("developer-light");
  s.set_budgets_tokens(budget);
  return s;
}

inline Op fund_op(const std::string& tenant) {
  v1::TenantCommand c;
  *c.mutable_put_settings()->mutable_settings() = tenant_settings(50'000'000);
  return make_op(actors::tenant_key(tenant), c, "treasurer");
}

inline Op cancel_op(const ActorKey& session, const std::string& who) {
  v1::SessionCommand c;
  c.mutable_cancel_session()->set_reason("simulated");
  return make_op(session, c, who);
}

// What was given to end a wait when the world comes to its end. It is given again after a hundred
// looks, ten seconds: an owner that had not heard of the wait yet refuses the first.
class Endings {
 public:
  bool may(const std::string& what) const {
    const auto it = at_.find(what);
    return it == at_.end() || looks_ - it->second >= 100;
  }
  void give(const std::string& what) { at_[what] = looks_; }
  void look() { ++looks_; }

 private:
  int looks_ = 0;
  std::map<std::string, int> at_;
};

// The frame's events of one type of message, with the entry and its actor.
template <typename Event, typename Visit>
void each_event(const events::ValidFrame& valid, std::string_view type, Visit visit) {
  for (const auto& entry : valid.frame->entries()) {
    if (entry.actor().type() != type) continue;
    for (const auto& recorded : entry.events()) {
      Event e;
      if (e.ParseFromString(recorded.payload())) visit(entry, actors::to_key(entry.actor()), e);
    }
  }
}

}  // namespace soma::sim
