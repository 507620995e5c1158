// A turn's beginning: judged, then refused, parked or paid for.
#include "actors/session/turn.h"

#include "actors/actor_type.h"
#include "actors/approvals/approvals.h"
#include "actors/policy/judge.h"
#include "actors/session/prompt.h"
#include "actors/tenant/budget.h"
#include "actors/tenant/tenant.h"
#include "schemas/base/sha256.h"

namespace soma::actors {

using Decided = SessionDecider::Decided;

v1::Failure failure(std::string code, std::string message) {
  v1::Failure f;
  f.set_code(std::move(code));
  f.set_message(std::move(message));
  return f;
}

void send_to_tenant(Decided& d, const std::string& tenant, const v1::TenantCommand& command) {
  d.sends.push_back({tenant_key(tenant), deterministic_bytes(command)});
}

void release(Decided& d, const v1::SessionState& s, const v1::Turn& t, const std::string& reason) {
  if (t.reservation_id().empty()) return;
  v1::TenantCommand c;
  c.mutable_release_budget()->set_reservation_id(t.reservation_id());
  c.mutable_release_budget()->set_reason(reason);
  send_to_tenant(d, s.tenant_id(), c);
}

void fail_turn(Decided& d, std::uint32_t turn, const v1::Failure& f, std::int64_t now_ms) {
  auto* failed = d.events.emplace_back().mutable_turn_failed();
  failed->set_turn(turn);
  *failed->mutable_failure() = f;
  failed->set_at_ms(now_ms);
  auto* session = d.events.emplace_back().mutable_session_failed();
  *session->mutable_failure() = f;
  session->set_at_ms(now_ms);
}

void ask_budget(Decided& d, const ActorKey& self, std::uint32_t turn, std::int64_t tokens,
                const std::string& user, const v1::Context& context) {
  auto* requested = d.events.emplace_back().mutable_budget_requested();
  requested->set_turn(turn);
  requested->set_reservation_id(derive_id(context, "res"));
  requested->set_tokens(tokens);
  v1::TenantCommand c;
  auto* reserve = c.mutable_reserve_budget();
  reserve->set_reservation_id(requested->reservation_id());
  reserve->set_tokens(tokens);
  *reserve->mutable_holder() = to_ref(self);
  reserve->set_user(user);
  send_to_tenant(d, self.tenant, c);
}

namespace {

constexpr std::int64_t kApprovalMs = 24LL * 3600 * 1000;
constexpr std::size_t kSummaryBytes = 500;  // of the prompt, in what a person reads

// The turn parks. What is approved is exactly this prompt of this session under this decision.
void ask_person(Decided& d, const ActorKey& self, const v1::TurnStarted& turn,
                const v1::PolicyDecision& decision, const v1::Context& context) {
  auto* asked = d.events.emplace_back().mutable_approval_requested();
  asked->set_turn(turn.turn());
  asked->set_approval_id(derive_id(context, "apr"));
  asked->set_action_hash(sha256_hex(to_string(self) + "\n" + deterministic_bytes(turn) + "\n" +
                                    deterministic_bytes(decision)));
  asked->set_at_ms(context.now_ms());
  v1::ApprovalsCommand c;
  auto* a = c.mutable_request_approval()->mutable_approval();
  a->set_approval_id(asked->approval_id());
  a->set_action("session.turn");
  a->set_action_hash(asked->action_hash());
  a->set_requested_by(context.principal().subject());
  a->set_session_id(self.id);
  a->set_expires_ms(context.now_ms() + kApprovalMs);
  *a->mutable_requester() = to_ref(self);
  a->set_summary(turn.prompt().substr(0, kSummaryBytes));
  if (!context.data_subject().empty()) a->set_user(context.data_subject());
  d.sends.push_back({approvals_key(self.tenant), deterministic_bytes(c)});
}

// A failed check names the constitution, so that its reader knows whose rule it was.
v1::Failure denial(const v1::PolicyDecision& decision) {
  std::string codes;
  for (const auto& code : decision.reason_codes()) codes += (codes.empty() ? "" : ", ") + code;
  return failure(
      "policy_denied",
      "policy denied the turn (" + codes + "); decision " + decision.decision_id() +
          " under constitution " +
          (decision.constitution_hash().empty() ? "none" : decision.constitution_hash()));
}

std::int64_t used_tokens(const v1::SessionState& s) {
  std::uint64_t used = 0;
  for (const auto& turn : s.turns())
    used += turn.usage().prompt_tokens() + turn.usage().completion_tokens();
  return static_cast<std::int64_t>(used);
}

}  // namespace

Status begin_turn(Decided& d, const ActorKey& self, const v1::SessionState& s,
                  const std::string& prompt, v1::PolicyInput policy,
                  const v1::TenantSettings& settings, const v1::ConstitutionInForce& constitution,
                  const v1::Context& context) {
  const std::int64_t tokens = estimate_tokens(s, prompt, max_tokens_of(s));
  policy.set_budget_required(static_cast<double>(tokens));
  auto decision = judge(policy, settings.deployment_mode(), derive_id(context, "dec"), constitution,
                        settings.policy());
  if (!decision) return tl::unexpected(decision.error());
  decision->set_settings_version(settings.version());
  v1::TurnStarted turn;
  turn.set_turn(static_cast<std::uint32_t>(s.turns_size() + 1));
  turn.set_prompt(prompt);
  turn.set_at_ms(context.now_ms());
  *turn.mutable_constitution() = constitution;
  turn.set_requested_by(context.principal().subject());
  *d.events.emplace_back().mutable_turn_started() = turn;
  auto* decided = d.events.emplace_back().mutable_policy_decided();
  decided->set_turn(turn.turn());
  *decided->mutable_decision() = *decision;
  if (decision->allow() || decision->needs_approval())
    if (const auto shortage = session_shortage(settings, used_tokens(s), s.turns_size(), tokens)) {
      fail_turn(d, turn.turn(), failure("budget_exhausted", shortage_text(*shortage)),
                context.now_ms());
      return {};
    }
  if (decision->needs_approval())
    ask_person(d, self, turn, *decision, context);
  else if (decision->allow())
    ask_budget(d, self, turn.turn(), tokens, turn.requested_by(), context);
  else
    fail_turn(d, turn.turn(), denial(*decision), context.now_ms());
  return {};
}

}  // namespace soma::actors
