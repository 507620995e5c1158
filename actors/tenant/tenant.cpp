// The tenant's rules: versioned settings, exact budget.
#include "actors/tenant/tenant.h"

#include <algorithm>

#include "actors/actor_type.h"
#include "schemas/base/sha256.h"
#include "soma/v1/inference.pb.h"
#include "soma/v1/session.pb.h"

namespace soma::actors {

namespace {

using Decided = TenantDecider::Decided;
constexpr std::int64_t kMaxBudgetTokens = 1'000'000'000'000;
constexpr std::int64_t kMaxReservationTokens = 10'000'000;

bool known_mode(const std::string& mode) {
  for (const char* m : {"developer-light", "developer-full", "test", "test-debug", "production",
                        "production-debug"})
    if (mode == m) return true;
  return false;
}

std::string settings_hash(v1::TenantSettings settings) {
  settings.clear_version();
  settings.clear_hash();
  return sha256_hex(deterministic_bytes(settings));
}

Result<Decided> put(const v1::TenantState& state, const v1::PutSettings& command) {
  const v1::TenantSettings old = effective_settings(state);
  if (command.expected_version() != 0 && command.expected_version() != old.version())
    return fail(Code::kVersionMismatch,
                "the settings are at version " + std::to_string(old.version()), "If-Match");
  const auto& tags = command.expected_tags();
  if (!tags.empty() && std::find(tags.begin(), tags.end(), version_tag(old)) == tags.end())
    return fail(Code::kVersionMismatch,
                "the settings are at version " + std::to_string(old.version()) +
                    ", which If-Match does not name; read them again",
                "If-Match");
  v1::TenantSettings next = command.settings();
  if (!known_mode(next.deployment_mode()))
    return fail(Code::kInvalidArgument,
                "deployment_mode must be developer-light, developer-full, test, test-debug, "
                "production or production-debug",
                "body.deployment_mode");
  if (next.budgets_tokens() < 0 || next.budgets_tokens() > kMaxBudgetTokens)
    return fail(Code::kInvalidArgument, "budgets_tokens must be 0 to 1000000000000",
                "body.budgets_tokens");
  next.set_hash(settings_hash(next));
  Decided d;
  if (old.version() > 0 && next.hash() == old.hash()) {
    *d.reply.mutable_settings() = old;
    return d;
  }
  next.set_version(old.version() + 1);
  *d.events.emplace_back().mutable_settings_changed()->mutable_settings() = next;
  *d.reply.mutable_settings() = next;
  d.reply.set_changed(true);
  return d;
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

Result<Decided> reserve(const v1::TenantState& state, const v1::ReserveBudget& command,
                        const v1::Context& context) {
  if (command.tokens() <= 0 || command.tokens() > kMaxReservationTokens)
    return fail(Code::kInvalidArgument, "tokens must be 1 to 10000000", "tokens");
  Decided d;
  *d.reply.mutable_settings() = effective_settings(state);
  if (state.reservations().contains(command.reservation_id())) return d;
  const std::int64_t left =
      effective_settings(state).budgets_tokens() - state.spent_tokens() - state.reserved_tokens();
  if (command.tokens() > left) {
    auto* refused = d.events.emplace_back().mutable_budget_refused();
    refused->set_reservation_id(command.reservation_id());
    refused->set_wanted_tokens(command.tokens());
    refused->set_remaining_tokens(left);
    d.sends.push_back(answer(command.holder(), [&](auto& c) {
      c.mutable_budget_denied()->set_reservation_id(command.reservation_id());
      c.mutable_budget_denied()->set_remaining_tokens(left);
    }));
    return d;
  }
  auto* reserved = d.events.emplace_back().mutable_budget_reserved();
  auto* r = reserved->mutable_reservation();
  r->set_reservation_id(command.reservation_id());
  r->set_tokens(command.tokens());
  *r->mutable_holder() = command.holder();
  r->set_at_ms(context.now_ms());
  reserved->set_remaining_tokens(left - command.tokens());
  d.sends.push_back(answer(command.holder(), [&](auto& c) {
    c.mutable_budget_granted()->set_reservation_id(command.reservation_id());
    c.mutable_budget_granted()->set_tokens(command.tokens());
    c.mutable_budget_granted()->set_remaining_tokens(left - command.tokens());
  }));
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

void drop_reservation(v1::TenantState& state, const std::string& id) {
  auto it = state.reservations().find(id);
  if (it == state.reservations().end()) return;
  state.set_reserved_tokens(state.reserved_tokens() - it->second.tokens());
  state.mutable_reservations()->erase(id);
}

}  // namespace

ActorKey tenant_key(const std::string& tenant) { return {tenant, "tenant", "settings", tenant}; }

std::string version_tag(const v1::TenantSettings& settings) {
  return std::to_string(settings.version()) + "-" + settings.hash();
}

v1::TenantSettings effective_settings(const v1::TenantState& state) {
  if (state.has_settings()) return state.settings();
  v1::TenantSettings defaults;
  defaults.set_deployment_mode("developer-light");
  defaults.set_budgets_tokens(5000);
  defaults.set_default_model_profile("default");
  defaults.set_hash(settings_hash(defaults));
  return defaults;
}

Result<Decided> TenantDecider::decide(const ActorKey&, const State& state, const Command& command,
                                      const v1::Context& context) {
  switch (command.kind_case()) {
    case Command::kPutSettings:
      return put(state, command.put_settings());
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
      *s.mutable_settings() = e.settings_changed().settings();
      return;
    case Event::kBudgetReserved: {
      const auto& r = e.budget_reserved().reservation();
      (*s.mutable_reservations())[r.reservation_id()] = r;
      s.set_reserved_tokens(s.reserved_tokens() + r.tokens());
      return;
    }
    case Event::kBudgetRefused:
      return;
    case Event::kBudgetSettled:
      drop_reservation(s, e.budget_settled().reservation_id());
      s.set_spent_tokens(s.spent_tokens() + e.budget_settled().used_tokens());
      return;
    case Event::kBudgetReleased:
      drop_reservation(s, e.budget_released().reservation_id());
      return;
    case Event::KIND_NOT_SET:
      return;
  }
}

std::vector<Effect> TenantDecider::effects(const ActorKey&, const State&) { return {}; }

std::string TenantDecider::event_type(const Event& e) {
  switch (e.kind_case()) {
    case Event::kSettingsChanged:
      return "settings.changed";
    case Event::kBudgetReserved:
      return "budget.reserved";
    case Event::kBudgetRefused:
      return "budget.refused";
    case Event::kBudgetSettled:
      return "budget.settled";
    case Event::kBudgetReleased:
      return "budget.released";
    case Event::KIND_NOT_SET:
      break;
  }
  return {};
}

}  // namespace soma::actors
