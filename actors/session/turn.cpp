// A turn's beginning: judged, then refused, parked or paid for.
#include "actors/session/turn.h"

#include <algorithm>
#include <charconv>

#include "actors/actor_type.h"
#include "actors/approvals/approvals.h"
#include "actors/policy/judge.h"
#include "actors/session/approved.h"
#include "actors/session/prompt.h"
#include "actors/session/tools.h"
#include "actors/tenant/budget.h"
#include "actors/tenant/tenant.h"
#include "schemas/base/cut_text.h"
#include "schemas/base/sha256.h"

namespace soma::actors {

using Decided = SessionDecider::Decided;

SessionDecider::Decided no_change(const v1::SessionState& s) {
  SessionDecider::Decided d;
  d.reply.set_session_id(s.session_id());
  d.reply.set_status(s.status());
  d.reply.set_turn(static_cast<std::uint32_t>(s.turns_size()));
  return d;
}

std::int64_t approval_ms_of(const v1::SessionState& s) {
  const auto it = s.metadata().find("approval_seconds");
  constexpr std::int64_t kApprovalSeconds = 24LL * 3600;
  constexpr std::int64_t kMaxApprovalSeconds = 30LL * 24 * 3600;
  std::int64_t n = 0;
  if (it != s.metadata().end())
    std::from_chars(it->second.data(), it->second.data() + it->second.size(), n);
  return 1000 * (n < 1 ? kApprovalSeconds : std::min(n, kMaxApprovalSeconds));
}

std::int64_t used_tokens(const v1::SessionState& s) {
  std::uint64_t used = 0;
  for (const auto& turn : s.turns())
    used += turn.usage().prompt_tokens() + turn.usage().completion_tokens();
  return static_cast<std::int64_t>(used);
}

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

constexpr std::size_t kSummaryBytes = 500;  // of the prompt, in what a person reads

// What is approved: exactly this prompt of this session under this decision.
struct ParkedAction {
  std::uint32_t turn = 0;
  std::string prompt, bytes;  // bytes: all that the hash binds
  std::int64_t may_take_ms = 0;
  std::string replaces;  // the approval of the prompt before it was edited
};

void ask_person(Decided& d, const ActorKey& self, const ParkedAction& action,
                const v1::PolicyDecision& decision, const v1::Context& context) {
  v1::Approval a = approval_for(self, context, action.may_take_ms);
  auto* asked = d.events.emplace_back().mutable_approval_requested();
  asked->set_turn(action.turn);
  asked->set_approval_id(a.approval_id());
  asked->set_action_hash(
      sha256_hex(to_string(self) + "\n" + action.bytes + "\n" + deterministic_bytes(decision)));
  asked->set_at_ms(context.now_ms());
  a.set_action("session.turn");
  a.set_action_hash(asked->action_hash());
  a.set_session_id(self.id);
  a.set_summary(cut_text(action.prompt, kSummaryBytes));
  a.set_replaces(action.replaces);
  if (!context.data_subject().empty()) a.set_user(context.data_subject());
  d.sends.push_back(ask(self, a));
}

}  // namespace

void park_turn(Decided& d, const ActorKey& self, const v1::SessionState& s, const v1::Turn& t,
               const v1::PolicyDecision& decision, const v1::Context& context) {
  v1::Context asked = context;  // whose turn it is may not approve it
  asked.mutable_principal()->set_subject(t.requested_by());
  asked.mutable_principal()->set_tenant(self.tenant);
  ask_person(d, self,
             {t.turn(),
              t.prompt(),
              t.prompt() + "\n" + deterministic_bytes(t.tools()) + deterministic_bytes(t.models()),
              approval_ms_of(s),
              {}},
             decision, asked);
}

v1::Failure denial(const v1::PolicyDecision& decision, const std::string& what) {
  std::string codes;
  for (const auto& code : decision.reason_codes()) codes += (codes.empty() ? "" : ", ") + code;
  return failure(
      "policy_denied",
      "policy denied the " + what + " (" + cut_text(codes, 1024) + "); decision " +
          decision.decision_id() + " under constitution " +
          (decision.constitution_hash().empty() ? "none" : decision.constitution_hash()));
}

Result<v1::PolicyDecision> judge_turn(v1::PolicyInput policy, std::int64_t tokens,
                                      const v1::TenantSettings& settings,
                                      const v1::ConstitutionInForce& constitution,
                                      const v1::RulesInForce& rules, const ActorKey& self,
                                      const v1::SessionState& s, const v1::Context& context) {
  policy.set_budget_required(static_cast<double>(tokens));
  auto decision =
      judge(policy, settings.deployment_mode(), derive_id(context, "dec"), constitution,
            settings.policy(), rules, {self.tenant, &context.principal(), self.id, s.model()});
  if (decision) decision->set_settings_version(settings.version());
  return decision;
}

Status begin_turn(Decided& d, const ActorKey& self, const v1::SessionState& s,
                  const std::string& prompt, v1::PolicyInput policy, const TurnTerms& terms,
                  const v1::Context& context) {
  v1::Turn offered;
  *offered.mutable_tools() = terms.tools;
  const std::int64_t tokens = estimate_tokens(s, prompt, max_tokens_of(s)) + tool_tokens(offered);
  const auto decision = judge_turn(std::move(policy), tokens, terms.settings, terms.constitution,
                                   terms.rules, self, s, context);
  if (!decision) return tl::unexpected(decision.error());
  v1::TurnStarted turn;
  turn.set_turn(static_cast<std::uint32_t>(s.turns_size() + 1));
  turn.set_prompt(prompt);
  turn.set_at_ms(context.now_ms());
  *turn.mutable_constitution() = terms.constitution;
  turn.set_requested_by(context.principal().subject());
  if (s.model().empty() && !terms.models.primary().empty()) *turn.mutable_models() = terms.models;
  if (terms.tools.tools_size() > 0) {
    *turn.mutable_tools() = terms.tools;
    *turn.mutable_tools()->mutable_settings() = terms.settings;
    *turn.mutable_tools()->mutable_principal() = context.principal();
  }
  if (decision->needs_approval()) *turn.mutable_principal() = context.principal();
  *d.events.emplace_back().mutable_turn_started() = turn;
  auto* decided = d.events.emplace_back().mutable_policy_decided();
  decided->set_turn(turn.turn());
  *decided->mutable_decision() = *decision;
  if (decision->allow() || decision->needs_approval())
    if (const auto shortage =
            session_shortage(terms.settings, used_tokens(s), s.turns_size(), tokens)) {
      fail_turn(d, turn.turn(), failure("budget_exhausted", shortage_text(*shortage)),
                context.now_ms());
      return {};
    }
  if (decision->needs_approval())
    ask_person(d, self, {turn.turn(), prompt, deterministic_bytes(turn), approval_ms_of(s), {}},
               *decision, context);
  else if (decision->allow())
    ask_budget(d, self, turn.turn(), tokens, turn.requested_by(), context);
  else
    fail_turn(d, turn.turn(), denial(*decision, "turn"), context.now_ms());
  return {};
}

void reopen_turn(Decided& d, const ActorKey& self, const v1::SessionState& s, const v1::Turn& t,
                 const v1::Failure& why, const v1::Context& context) {
  auto* reopened = d.events.emplace_back().mutable_turn_reopened();
  reopened->set_turn(t.turn());
  reopened->set_approval_id(t.approval_id());
  *reopened->mutable_failure() = why;
  reopened->set_at_ms(context.now_ms());
  d.reply.set_status(v1::WAITING_APPROVAL);
  release(d, s, t, "the approved turn could not start");
  reopen_approval(d, self, t.approval_id(), t.action_hash(), why);
}

Status edit_turn(Decided& d, const ActorKey& self, const v1::SessionState& s, const v1::Turn& t,
                 const v1::EditTurn& edit, const v1::Context& context) {
  const std::int64_t tokens = estimate_tokens(s, edit.content(), max_tokens_of(s)) + tool_tokens(t);
  const auto decision = judge_turn(t.decision().input(), tokens, edit.settings(),
                                   edit.constitution(), edit.rules(), self, s, context);
  if (!decision) return tl::unexpected(decision.error());
  v1::TurnEdited edited;
  edited.set_turn(t.turn());
  edited.set_prompt(edit.content());
  edited.set_edited_by(context.principal().subject());
  edited.set_at_ms(context.now_ms());
  edited.set_approval_id(t.approval_id());
  *edited.mutable_constitution() = edit.constitution();
  *edited.mutable_principal() = context.principal();
  *d.events.emplace_back().mutable_turn_edited() = edited;
  auto* decided = d.events.emplace_back().mutable_policy_decided();
  decided->set_turn(t.turn());
  *decided->mutable_decision() = *decision;
  v1::ApprovalsCommand close;
  close.mutable_withdraw_approval()->set_approval_id(t.approval_id());
  if (decision->needs_approval() || decision->allow()) {  // an edit is never its own second key
    ask_person(d, self,
               {t.turn(), edit.content(),
                deterministic_bytes(edited) + (t.has_tools() ? deterministic_bytes(t.tools()) : ""),
                approval_ms_of(s), t.approval_id()},
               *decision, context);
    close.mutable_withdraw_approval()->set_replaced_by(
        d.events.back().approval_requested().approval_id());
  } else {
    fail_turn(d, t.turn(), denial(*decision, "turn"), context.now_ms());
  }
  close.mutable_withdraw_approval()->set_reason("edited by " + edited.edited_by());
  d.sends.push_back({approvals_key(self.tenant), deterministic_bytes(close)});
  return {};
}

}  // namespace soma::actors
