// What holds for all tenants: a change is recorded, the same again is none.
#include "actors/gateway/gateway.h"

#include <algorithm>

#include "actors/actor_type.h"
#include "actors/approvals/approvals.h"
#include "actors/gateway/guardrails.h"
#include "actors/policy/policy.h"
#include "actors/two_keys.h"
#include "schemas/base/sha256.h"
#include "soma/v1/approval.pb.h"

namespace soma::actors {

namespace {

using Decided = GatewayDecider::Decided;
constexpr std::size_t kMaxReasonBytes = 1000;
constexpr int kMaxLocks = 10'000;

// Locks are their tenants' business: an answer never lists them.
v1::GatewayState without_locks(v1::GatewayState s) {
  s.clear_training();
  return s;
}

std::string caller(const v1::Context& context) {
  return context.principal().tenant() + "/" + context.principal().subject();
}

Result<Decided> set_kill_switch(const v1::GatewayState& s, const v1::SetKillSwitch& set,
                                const v1::Context& context) {
  Decided d;
  *d.reply.mutable_state() = without_locks(s);
  if (set.reason().size() > kMaxReasonBytes)
    return fail(Code::kInvalidArgument, "reason is over 1000 bytes", "body.reason");
  if (set.enabled() == s.kill_switch()) return d;
  auto* changed = d.events.emplace_back().mutable_kill_switch_changed();
  changed->set_enabled(set.enabled());
  changed->set_reason(set.reason());
  changed->set_changed_by(caller(context));
  changed->set_at_ms(context.now_ms());
  GatewayDecider::evolve(*d.reply.mutable_state(), d.events.back());
  d.reply.set_changed(true);
  return d;
}

// The holder of the lock that was taken first; "" when none is held.
std::string lock_holder(const v1::GatewayState& s) {
  const v1::TrainingLock* first = nullptr;
  for (const auto& [tenant, lock] : s.training())
    if (first == nullptr ||
        std::pair(lock.locked_ms(), lock.tenant()) < std::pair(first->locked_ms(), first->tenant()))
      first = &lock;
  return first ? first->locked_by() : std::string();
}

// Leaving production takes every other two-key rule away, so it is one itself.
bool needs_second_key(const v1::GatewayState& s, const v1::SetMode& set) {
  return set.two_keys_to_leave() && !is_production(set.mode()) &&
         (is_production(set.server_mode()) || is_production(s.mode()));
}

Result<Decided> ask_second_key(const ActorKey& self, const v1::GatewayState& s,
                               const v1::SetMode& set, const v1::Context& context) {
  Decided d;
  *d.reply.mutable_state() = without_locks(s);
  d.reply.set_approval_id(s.approval_id());
  if (s.has_proposed()) {
    if (s.proposed().mode() == set.mode()) return d;
    return fail(Code::kConflict, "the mode " + s.proposed().mode() +
                                     " waits for its second key: approval " + s.approval_id());
  }
  auto* event = d.events.emplace_back().mutable_proposed();
  auto* proposed = event->mutable_proposed();
  proposed->set_mode(set.mode());
  proposed->set_previous(set.server_mode());
  *proposed->mutable_facts() = set.facts();
  proposed->set_proposed_by(caller(context));
  proposed->set_at_ms(context.now_ms());
  v1::Approval a = approval_for(self, context, two_keys::kOpenMs);
  a.set_action("settings.mode");
  a.set_action_hash(sha256_hex(deterministic_bytes(*proposed)));
  a.set_summary("Deployment mode " + set.server_mode() + " to " + set.mode());
  d.sends.push_back(ask(self, a));
  event->set_approval_id(a.approval_id());
  d.reply.set_approval_id(a.approval_id());
  d.reply.set_changed(true);
  return d;
}

Result<Decided> approved(const v1::GatewayState& s, const v1::ModeApproved& c,
                         const v1::Context& context) {
  Decided d;
  *d.reply.mutable_state() = without_locks(s);
  if (!two_keys::waits_for(s, c.approval_id())) return d;  // withdrawn meanwhile
  const auto& proposed = s.proposed();
  // A training lock may have been taken since.
  if (const auto failed = failing_guardrails(proposed.mode(), proposed.facts(), lock_holder(s));
      !failed.empty()) {
    two_keys::withdraw(d, c.approval_id(), "soma", failed.front().message());
    return d;
  }
  auto* changed = d.events.emplace_back().mutable_mode_changed();
  changed->set_mode(proposed.mode());
  changed->set_previous(proposed.previous());
  changed->set_changed_by(proposed.proposed_by());
  changed->set_approved_by(c.approved_by());
  changed->set_at_ms(context.now_ms());
  *changed->mutable_facts() = proposed.facts();
  d.reply.set_changed(true);
  return d;
}

Result<Decided> rejected(const v1::GatewayState& s, const v1::ModeRejected& c) {
  Decided d;
  *d.reply.mutable_state() = without_locks(s);
  if (two_keys::waits_for(s, c.approval_id()))
    two_keys::withdraw(d, c.approval_id(), c.rejected_by(), c.reason());
  return d;
}

Result<Decided> set_mode(const ActorKey& self, const v1::GatewayState& s, const v1::SetMode& set,
                         const v1::Context& context) {
  if (strictness(set.mode()) < 0)
    return fail(Code::kInvalidArgument,
                "mode must be developer-light, developer-full, test, test-debug, production or "
                "production-debug",
                "body.mode");
  Decided d;
  *d.reply.mutable_state() = without_locks(s);
  for (auto& failed : failing_guardrails(set.mode(), set.facts(), lock_holder(s)))
    *d.reply.add_failed() = std::move(failed);
  if (!d.reply.failed().empty()) return d;
  if (set.mode() == s.mode()) return d;
  if (needs_second_key(s, set)) return ask_second_key(self, s, set, context);
  auto* changed = d.events.emplace_back().mutable_mode_changed();
  changed->set_mode(set.mode());
  changed->set_previous(set.server_mode());
  changed->set_changed_by(caller(context));
  changed->set_at_ms(context.now_ms());
  *changed->mutable_facts() = set.facts();
  GatewayDecider::evolve(*d.reply.mutable_state(), d.events.back());
  d.reply.set_changed(true);
  return d;
}

Result<Decided> start_training(const v1::GatewayState& s, const v1::StartTraining& c,
                               const v1::Context& context) {
  Decided d;
  if (is_production(c.server_mode()))
    return fail(Code::kConflict, "the guardrail training_closed of the mode " + c.server_mode() +
                                     " keeps training locks from being taken");
  if (const auto it = s.training().find(c.tenant()); it != s.training().end()) {
    if (it->second.locked_by() != context.principal().subject())
      return fail(Code::kConflict, "the training lock is held by " + it->second.locked_by());
    *d.reply.mutable_lock() = it->second;
    return d;
  }
  if (s.training_size() >= kMaxLocks)
    return fail(Code::kConflict, "10000 training locks are held, the most there may be");
  auto* lock = d.events.emplace_back().mutable_training_started()->mutable_lock();
  lock->set_tenant(c.tenant());
  lock->set_locked_by(context.principal().subject());
  lock->set_locked_ms(context.now_ms());
  *d.reply.mutable_lock() = *lock;
  d.reply.set_changed(true);
  return d;
}

Result<Decided> stop_training(const v1::GatewayState& s, const v1::StopTraining& c,
                              const v1::Context& context) {
  Decided d;
  const auto it = s.training().find(c.tenant());
  if (it == s.training().end()) return d;
  if (it->second.locked_by() != context.principal().subject())
    return fail(Code::kForbidden, "the training lock is held by " + it->second.locked_by() +
                                      ", who alone may stop it");
  auto* stopped = d.events.emplace_back().mutable_training_stopped();
  stopped->set_tenant(c.tenant());
  stopped->set_locked_by(it->second.locked_by());
  stopped->set_at_ms(context.now_ms());
  d.reply.set_changed(true);
  return d;
}

}  // namespace

ActorKey gateway_key() { return {"$system", "gateway", "gateway", {}}; }

Result<Decided> GatewayDecider::decide(const ActorKey& self, const State& s, const Command& c,
                                       const v1::Context& context) {
  switch (c.kind_case()) {
    case Command::kSetKillSwitch:
      return set_kill_switch(s, c.set_kill_switch(), context);
    case Command::kSetMode:
      return set_mode(self, s, c.set_mode(), context);
    case Command::kApproved:
      return approved(s, c.approved(), context);
    case Command::kRejected:
      return rejected(s, c.rejected());
    case Command::kStartTraining:
      return start_training(s, c.start_training(), context);
    case Command::kStopTraining:
      return stop_training(s, c.stop_training(), context);
    case Command::kEffectOutcome: {
      Decided d;
      *d.reply.mutable_state() = without_locks(s);
      return d;  // it has no effects
    }
    case Command::KIND_NOT_SET:
      break;
  }
  return fail(Code::kInvalidArgument, "command has no case", "command");
}

void GatewayDecider::evolve(State& s, const Event& e) {
  switch (e.kind_case()) {
    case Event::kKillSwitchChanged:
      s.set_kill_switch(e.kill_switch_changed().enabled());
      s.set_reason(e.kill_switch_changed().reason());
      s.set_changed_by(e.kill_switch_changed().changed_by());
      s.set_changed_ms(e.kill_switch_changed().at_ms());
      return;
    case Event::kModeChanged:
      s.set_mode(e.mode_changed().mode());
      s.set_mode_changed_by(e.mode_changed().changed_by());
      s.set_mode_changed_ms(e.mode_changed().at_ms());
      if (e.mode_changed().approved_by().empty()) return;
      s.clear_proposed();
      s.clear_approval_id();
      return;
    case Event::kProposed:
      *s.mutable_proposed() = e.proposed().proposed();
      s.set_approval_id(e.proposed().approval_id());
      return;
    case Event::kWithdrawn:
      s.clear_proposed();
      s.clear_approval_id();
      return;
    case Event::kTrainingStarted:
      (*s.mutable_training())[e.training_started().lock().tenant()] = e.training_started().lock();
      return;
    case Event::kTrainingStopped:
      s.mutable_training()->erase(e.training_stopped().tenant());
      return;
    case Event::KIND_NOT_SET:
      return;
  }
}

std::vector<Effect> GatewayDecider::effects(const ActorKey&, const State&) { return {}; }

std::string GatewayDecider::event_type(const Event& e) {
  switch (e.kind_case()) {
    case Event::kKillSwitchChanged:
      return "gateway.kill_switch.changed";
    case Event::kModeChanged:
      return "mode.changed";
    case Event::kTrainingStarted:
      return "training.started";
    case Event::kTrainingStopped:
      return "training.stopped";
    case Event::kProposed:
      return "mode.proposed";
    case Event::kWithdrawn:
      return "mode.withdrawn";
    case Event::KIND_NOT_SET:
      break;
  }
  return {};
}

}  // namespace soma::actors
