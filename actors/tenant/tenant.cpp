// The tenant's rules: versioned settings, exact budget.
#include "actors/tenant/tenant.h"

#include <algorithm>

#include "actors/actor_type.h"
#include "actors/policy/policy.h"
#include "actors/tenant/budget.h"
#include "actors/tenant/leaving_production.h"
#include "actors/two_keys.h"
#include "schemas/base/sha256.h"
#include "soma/v1/inference.pb.h"
#include "soma/v1/session.pb.h"

namespace soma::actors {

namespace {

using Decided = TenantDecider::Decided;
constexpr std::int64_t kMaxBudgetTokens = 1'000'000'000'000;
constexpr std::int64_t kMaxReservationTokens = 10'000'000;

constexpr std::int64_t kMaxRate = 1'000'000'000;
constexpr std::int64_t kMaxPrice = 1'000'000'000'000;
constexpr int kHistory = 50;  // versions that can be rolled back to

std::string settings_hash(v1::TenantSettings settings) {
  settings.clear_version();
  settings.clear_hash();
  // Known from the zone's name; later puts of the same rule know them from a later day on. Whether
  // they still are the same is asked apart, by same_laws().
  for (auto& rule : *settings.mutable_budgets()) rule.clear_offsets();
  return sha256_hex(deterministic_bytes(settings));
}

Status check_tags(const google::protobuf::RepeatedPtrField<std::string>& tags,
                  const v1::TenantSettings& old) {
  if (tags.empty() || std::find(tags.begin(), tags.end(), version_tag(old)) != tags.end())
    return {};
  return fail(Code::kVersionMismatch,
              "the settings are at version " + std::to_string(old.version()) +
                  ", which If-Match does not name; read them again",
              "If-Match");
}

Status check(const v1::TenantSettings& s) {
  if (!is_known_mode(s.deployment_mode()))
    return fail(Code::kInvalidArgument,
                "deployment_mode must be developer-light, developer-full, test, test-debug, "
                "production or production-debug",
                "body.deployment_mode");
  if (s.budgets_tokens() < 0 || s.budgets_tokens() > kMaxBudgetTokens)
    return fail(Code::kInvalidArgument, "budgets_tokens must be 0 to 1000000000000",
                "body.budgets_tokens");
  if (s.price_per_million_tokens() < 0 || s.price_per_million_tokens() > kMaxPrice)
    return fail(Code::kInvalidArgument, "price_per_million_tokens must be 0 to 1000000000000",
                "body.price_per_million_tokens");
  for (const auto& [rate, name] :
       {std::pair(s.rate_limits().tenant(), "tenant"), std::pair(s.rate_limits().user(), "user")}) {
    const std::string field = std::string("rate_limits.") + name;
    if (rate.requests() < 0 || rate.requests() > kMaxRate)
      return fail(Code::kInvalidArgument, field + ".requests must be 0 to 1000000000",
                  "body." + field + ".requests");
    if (rate.requests() > 0 && (rate.seconds() < 1 || rate.seconds() > 86'400))
      return fail(Code::kInvalidArgument, field + ".seconds must be 1 to 86400",
                  "body." + field + ".seconds");
  }
  if (auto ok = check_weights(s.policy()); !ok) return ok;
  return check_budget_rules(s);
}

// A law that changed since makes the same settings others: their windows are elsewhere.
bool same_laws(const v1::TenantSettings& old, const v1::TenantSettings& next) {
  return std::equal(old.budgets().begin(), old.budgets().end(), next.budgets().begin(),
                    next.budgets().end(), same_zone_law);
}

struct Origin {
  std::uint64_t rolled_back_to = 0;      // a version of the history; 0: not rolled back
  std::string proposed_by, approved_by;  // by whose two keys, where it needed two
};

Result<Decided> change(const ActorKey& self, const v1::TenantState& state, v1::TenantSettings next,
                       const v1::Context& context, const Origin& origin = {}) {
  const v1::TenantSettings old = effective_settings(state);
  const std::uint64_t rolled_back_to = origin.rolled_back_to;
  next.set_hash(settings_hash(next));
  if (origin.approved_by.empty() && leaves_production(old, next))
    return propose_settings(self, state, next, rolled_back_to, context);
  Decided d;
  // What is rolled back to was put earlier, and so tells nothing of the law now.
  if (old.version() > 0 && next.hash() == old.hash() &&
      (rolled_back_to > 0 || same_laws(old, next))) {
    *d.reply.mutable_settings() = old;
    return d;
  }
  next.set_version(old.version() + 1);
  auto* changed = d.events.emplace_back().mutable_settings_changed();
  *changed->mutable_settings() = next;
  changed->set_changed_by(origin.proposed_by.empty() ? context.principal().subject()
                                                     : origin.proposed_by);
  changed->set_approved_by(origin.approved_by);
  changed->set_at_ms(context.now_ms());
  changed->set_rolled_back_to(rolled_back_to);
  if (origin.approved_by.empty()) overtake_proposal(d, self, state, context);
  *d.reply.mutable_settings() = next;
  d.reply.set_changed(true);
  return d;
}

Result<Decided> put(const ActorKey& self, const v1::TenantState& state,
                    const v1::PutSettings& command, const v1::Context& context) {
  const v1::TenantSettings old = effective_settings(state);
  if (command.expected_version() != 0 && command.expected_version() != old.version())
    return fail(Code::kVersionMismatch,
                "the settings are at version " + std::to_string(old.version()), "If-Match");
  if (auto ok = check_tags(command.expected_tags(), old); !ok) return tl::unexpected(ok.error());
  v1::TenantSettings next = command.settings();
  // What a caller leaves out must not loosen: a stricter mode ends when it is said, not by silence.
  if (next.deployment_mode().empty()) next.set_deployment_mode(old.deployment_mode());
  if (auto ok = check(next); !ok) return tl::unexpected(ok.error());
  return change(self, state, std::move(next), context);
}

Result<Decided> settings_approved(const ActorKey& self, const v1::TenantState& state,
                                  const v1::SettingsApproved& command, const v1::Context& context) {
  Decided d;
  *d.reply.mutable_settings() = effective_settings(state);
  // Another change withdraws it, so that what waits stands on the version in force.
  if (!two_keys::waits_for(state, command.approval_id())) return d;
  const auto& proposed = state.proposed();
  return change(self, state, proposed.settings(), context,
                {proposed.rolled_back_to(), proposed.proposed_by(), command.approved_by()});
}

Result<Decided> roll_back(const ActorKey& self, const v1::TenantState& state,
                          const v1::RollBackSettings& command, const v1::Context& context) {
  const v1::TenantSettings old = effective_settings(state);
  if (auto ok = check_tags(command.expected_tags(), old); !ok) return tl::unexpected(ok.error());
  for (const auto& past : state.history())
    if (past.settings().version() == command.version())
      return change(self, state, past.settings(), context, {command.version(), {}, {}});
  return fail(Code::kInvalidArgument,
              "version must be one of the settings' history, which keeps the last 50",
              "body.version");
}

// The answer goes to whoever holds the reservation, in its own type's words.
template <typename Fill>
OutSend answer(const v1::ActorRef& holder, Fill fill) {
  if (holder.type() == "inference") {
    v1::InferenceCommand command;
    fill(command);
    return {to_key(holder), command.SerializeAsString()};
  }
  v1::SessionCommand command;
  fill(command);
  return {to_key(holder), command.SerializeAsString()};
}

v1::BudgetShortage shortage_in_all(const v1::TenantSettings& settings, std::int64_t left,
                                   std::int64_t wanted) {
  v1::BudgetShortage s;
  s.set_scope("tenant");
  s.set_unit("tokens");
  s.set_window("total");
  s.set_limit(settings.budgets_tokens());
  s.set_remaining(std::max<std::int64_t>(0, left));
  s.set_wanted(wanted);
  return s;
}

Result<Decided> reserve(const v1::TenantState& state, const v1::ReserveBudget& command,
                        const v1::Context& context) {
  if (command.tokens() <= 0 || command.tokens() > kMaxReservationTokens)
    return fail(Code::kInvalidArgument, "tokens must be 1 to 10000000", "tokens");
  Decided d;
  *d.reply.mutable_settings() = effective_settings(state);
  if (state.reservations().contains(command.reservation_id())) return d;
  const v1::TenantSettings& settings = d.reply.settings();
  const std::int64_t left =
      settings.budgets_tokens() - state.spent_tokens() - state.reserved_tokens();
  BudgetWeighed weighed = weigh_budget(state, settings, command, context.now_ms());
  if (!weighed.shortage)
    weighed.shortage = counter_shortage(state, weighed.counted, context.now_ms());
  if (command.tokens() > left) weighed.shortage = shortage_in_all(settings, left, command.tokens());
  if (weighed.shortage) {
    auto* refused = d.events.emplace_back().mutable_budget_refused();
    refused->set_reservation_id(command.reservation_id());
    refused->set_wanted_tokens(command.tokens());
    refused->set_remaining_tokens(left);
    *refused->mutable_shortage() = *weighed.shortage;
    d.sends.push_back(answer(command.holder(), [&](auto& c) {
      c.mutable_budget_denied()->set_reservation_id(command.reservation_id());
      c.mutable_budget_denied()->set_remaining_tokens(left);
      *c.mutable_budget_denied()->mutable_shortage() = *weighed.shortage;
    }));
    return d;
  }
  auto* reserved = d.events.emplace_back().mutable_budget_reserved();
  auto* r = reserved->mutable_reservation();
  r->set_reservation_id(command.reservation_id());
  r->set_tokens(command.tokens());
  *r->mutable_holder() = command.holder();
  r->set_at_ms(context.now_ms());
  r->set_user(command.user());
  r->set_money(price_of(settings, command.tokens()));
  for (auto& c : weighed.counted) *r->add_counted() = std::move(c);
  reserved->set_remaining_tokens(left - command.tokens());
  d.sends.push_back(answer(command.holder(), [&](auto& c) {
    c.mutable_budget_granted()->set_reservation_id(command.reservation_id());
    c.mutable_budget_granted()->set_tokens(command.tokens());
    c.mutable_budget_granted()->set_remaining_tokens(left - command.tokens());
  }));
  for (auto& passed : weighed.passed)
    *d.events.emplace_back().mutable_budget_soft_limit_passed() = std::move(passed);
  return d;
}

Result<Decided> settle(const v1::TenantState& state, const v1::SettleBudget& command) {
  Decided d;
  *d.reply.mutable_settings() = effective_settings(state);
  auto it = state.reservations().find(command.reservation_id());
  if (it == state.reservations().end()) return d;
  auto* settled = d.events.emplace_back().mutable_budget_settled();
  settled->set_reservation_id(command.reservation_id());
  settled->set_reserved_tokens(it->second.tokens());
  settled->set_used_tokens(std::max<std::int64_t>(0, command.used_tokens()));
  settled->set_used_money(price_of(effective_settings(state), settled->used_tokens()));
  return d;
}

Result<Decided> release(const v1::TenantState& state, const v1::ReleaseBudget& command) {
  Decided d;
  *d.reply.mutable_settings() = effective_settings(state);
  auto it = state.reservations().find(command.reservation_id());
  if (it == state.reservations().end()) return d;
  auto* released = d.events.emplace_back().mutable_budget_released();
  released->set_reservation_id(command.reservation_id());
  released->set_tokens(it->second.tokens());
  released->set_reason(command.reason());
  return d;
}

// `happened`: the call was made, with these tokens; else everything is given back.
void end_reservation(v1::TenantState& state, const std::string& id, bool happened,
                     std::int64_t tokens, std::int64_t money) {
  auto it = state.reservations().find(id);
  if (it == state.reservations().end()) return;
  settle_counters(state, it->second, tokens, money, happened);
  state.set_reserved_tokens(state.reserved_tokens() - it->second.tokens());
  state.mutable_reservations()->erase(id);
}

void settings_changed(v1::TenantState& s, const v1::SettingsChanged& e) {
  *s.mutable_settings() = e.settings();
  if (!e.approved_by().empty()) {
    s.clear_proposed();
    s.clear_approval_id();
  }
  auto* version = s.add_history();
  *version->mutable_settings() = e.settings();
  version->set_changed_by(e.changed_by());
  version->set_at_ms(e.at_ms());
  if (s.history_size() > kHistory)
    s.mutable_history()->DeleteSubrange(0, s.history_size() - kHistory);
}

}  // namespace

ActorKey tenant_key(const std::string& tenant) { return {tenant, "tenant", "settings", tenant}; }

v1::TenantSettings effective_settings(const v1::TenantState& state) {
  if (state.has_settings()) return state.settings();
  v1::TenantSettings defaults;
  defaults.set_deployment_mode("developer-light");
  defaults.set_budgets_tokens(5000);
  defaults.set_default_model_profile("default");
  defaults.set_hash(settings_hash(defaults));
  return defaults;
}

Result<Decided> TenantDecider::decide(const ActorKey& self, const State& state,
                                      const Command& command, const v1::Context& context) {
  switch (command.kind_case()) {
    case Command::kPutSettings:
      return put(self, state, command.put_settings(), context);
    case Command::kRollBackSettings:
      return roll_back(self, state, command.roll_back_settings(), context);
    case Command::kApproved:
      return settings_approved(self, state, command.approved(), context);
    case Command::kRejected:
      return settings_rejected(state, command.rejected(), context);
    case Command::kReserveBudget:
      return reserve(state, command.reserve_budget(), context);
    case Command::kSettleBudget:
      return settle(state, command.settle_budget());
    case Command::kReleaseBudget:
      return release(state, command.release_budget());
    case Command::kEffectOutcome:
      return Decided{};  // a tenant has no effects
    case Command::KIND_NOT_SET:
      break;
  }
  return fail(Code::kInvalidArgument, "command has no case", "command");
}

void TenantDecider::evolve(State& s, const Event& e) {
  switch (e.kind_case()) {
    case Event::kSettingsChanged:
      return settings_changed(s, e.settings_changed());
    case Event::kSettingsProposed:
      *s.mutable_proposed() = e.settings_proposed().proposed();
      s.set_approval_id(e.settings_proposed().approval_id());
      return;
    case Event::kSettingsWithdrawn:
      s.clear_proposed();
      s.clear_approval_id();
      return;
    case Event::kBudgetReserved: {
      const auto& r = e.budget_reserved().reservation();
      (*s.mutable_reservations())[r.reservation_id()] = r;
      s.set_reserved_tokens(s.reserved_tokens() + r.tokens());
      return take_counters(s, r);
    }
    case Event::kBudgetRefused:
      return;
    case Event::kBudgetSettled:
      end_reservation(s, e.budget_settled().reservation_id(), true,
                      e.budget_settled().used_tokens(), e.budget_settled().used_money());
      s.set_spent_tokens(s.spent_tokens() + e.budget_settled().used_tokens());
      return;
    case Event::kBudgetReleased:
      return end_reservation(s, e.budget_released().reservation_id(), false, 0, 0);
    case Event::kBudgetSoftLimitPassed:
      (*s.mutable_usage())[e.budget_soft_limit_passed().counter()].set_soft_told(true);
      return;
    case Event::KIND_NOT_SET:
      return;
  }
}

std::string TenantDecider::event_type(const Event& e) {
  switch (e.kind_case()) {
    case Event::kSettingsChanged:
      return "settings.changed";
    case Event::kSettingsProposed:
      return "settings.proposed";
    case Event::kSettingsWithdrawn:
      return "settings.withdrawn";
    case Event::kBudgetReserved:
      return "budget.reserved";
    case Event::kBudgetRefused:
      return "budget.refused";
    case Event::kBudgetSettled:
      return "budget.settled";
    case Event::kBudgetReleased:
      return "budget.released";
    case Event::kBudgetSoftLimitPassed:
      return "budget.soft_limit_passed";
    case Event::KIND_NOT_SET:
      break;
  }
  return {};
}

}  // namespace soma::actors
