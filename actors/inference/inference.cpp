// A single governed call: decided, reserved, asked, answered, settled.
#include "actors/inference/inference.h"

#include <algorithm>

#include "actors/actor_type.h"
#include "actors/inference/tool_answer.h"
#include "actors/model/model.h"
#include "actors/policy/call_terms.h"
#include "actors/policy/judge.h"
#include "actors/session/prompt.h"
#include "actors/session/tools.h"
#include "actors/tenant/budget.h"
#include "actors/tenant/tenant.h"

namespace soma::actors {

namespace {

using Decided = InferenceDecider::Decided;
constexpr std::size_t kMaxMessages = 256;
constexpr std::size_t kMaxInputBytes = 256 * 1024;
constexpr std::uint32_t kMaxEmbedAttempts = 4;
constexpr std::uint32_t kUnreadDoublings = 3;  // of a second, until what is in force is read again

bool embeds(const v1::InferenceState& s) { return s.request().mode() == "embedding"; }

Decided replying(const ActorKey& self) {
  Decided d;
  d.reply.set_inference_id(self.id);
  return d;
}

void send_to_tenant(Decided& d, const ActorKey& self, const v1::TenantCommand& command) {
  d.sends.push_back({tenant_key(self.tenant), deterministic_bytes(command)});
}

void fail_call(Decided& d, const v1::Failure& f, std::int64_t now_ms) {
  auto* failed = d.events.emplace_back().mutable_inference_failed();
  *failed->mutable_failure() = f;
  failed->set_at_ms(now_ms);
}

void reserve(Decided& d, const ActorKey& self, const std::string& id, std::int64_t tokens,
             const std::string& user) {
  v1::TenantCommand c;
  c.mutable_reserve_budget()->set_reservation_id(id);
  c.mutable_reserve_budget()->set_tokens(tokens);
  *c.mutable_reserve_budget()->mutable_holder() = to_ref(self);
  c.mutable_reserve_budget()->set_user(user);
  send_to_tenant(d, self, c);
}

v1::Failure failure(const char* code, std::string message) {
  v1::Failure f;
  f.set_code(code);
  f.set_message(std::move(message));
  return f;
}

// Nothing where it is allowed.
v1::Failure denial(const v1::PolicyDecision& decision) {
  if (decision.allow() && !decision.needs_approval()) return {};
  return failure(
      "policy_denied",
      decision.needs_approval()
          ? "the call needs a person's approval, for which only a session can wait; decision " +
                decision.decision_id()
          : "policy denied the call; decision " + decision.decision_id() + " under constitution " +
                (decision.constitution_hash().empty() ? "none" : decision.constitution_hash()));
}

// Of a call that is about to be sent; nothing where it may.
v1::Failure why_not(const v1::StartTerms& terms, const Result<v1::PolicyDecision>& decision) {
  if (terms.halted()) return failure("kill_switch_active", "Gateway kill-switch active");
  if (!terms.asker_out().empty()) return failure("asker_not_admitted", terms.asker_out());
  if (!decision) return failure("policy_error", decision.error().message);
  return denial(*decision);
}

Status check(const v1::ModelRequest& request, std::size_t& bytes) {
  if (request.messages().empty())
    return fail(Code::kInvalidArgument, "messages must not be empty", "body.messages");
  if (static_cast<std::size_t>(request.messages_size()) > kMaxMessages)
    return fail(Code::kInvalidArgument, "at most 256 messages", "body.messages");
  for (const auto& m : request.messages()) {
    bytes += m.content().size();
    for (const auto& call : m.tool_calls()) bytes += call.name().size() + call.arguments().size();
  }
  if (bytes == 0) return fail(Code::kInvalidArgument, "prompt must not be empty", "body.prompt");
  if (bytes > kMaxInputBytes)
    return fail(Code::kInvalidArgument, "the input is over 256 KiB", "body.messages");
  return {};
}

Result<Decided> start(const ActorKey& self, const v1::InferenceState& s,
                      const v1::StartInference& c, const v1::Context& context) {
  if (s.stage() != v1::INFERENCE_STAGE_UNSPECIFIED)
    return fail(Code::kConflict, "inference " + self.id + " exists");
  std::size_t bytes = 0;
  if (auto ok = check(c.request(), bytes); !ok) return tl::unexpected(ok.error());
  if (auto ok = check_tools(c.tools()); !ok) return tl::unexpected(ok.error());
  bytes += static_cast<std::size_t>(definition_bytes(c.tools()));
  if (bytes > kMaxInputBytes)
    return fail(Code::kInvalidArgument, "messages and tools are over 256 KiB together",
                "body.tools");
  std::uint32_t max_tokens =
      c.request().sampling().max_tokens() ? c.request().sampling().max_tokens() : kDefaultMaxTokens;
  if (c.request().mode() == "embedding") max_tokens = 0;
  const auto tokens = static_cast<std::int64_t>(bytes / 3 + 64 + max_tokens);
  v1::PolicyInput policy = c.policy();
  policy.set_budget_required(static_cast<double>(tokens));
  auto decision = judge(policy, c.settings().deployment_mode(), derive_id(context, "dec"),
                        c.constitution(), c.settings().policy(), c.rules(),
                        {self.tenant, &context.principal(), {}, c.request().model()});
  if (!decision) return tl::unexpected(decision.error());
  decision->set_settings_version(c.settings().version());
  Decided d = replying(self);
  auto* decided = d.events.emplace_back().mutable_policy_decided();
  *decided->mutable_decision() = *decision;
  decided->set_at_ms(context.now_ms());
  auto* started = d.events.emplace_back().mutable_inference_started();
  *started->mutable_request() = c.request();
  started->mutable_request()->set_call_id(derive_id(context, "call"));
  *started->mutable_request()->mutable_caller() = to_ref(self);
  if (!context.data_subject().empty()) started->mutable_request()->set_user(context.data_subject());
  started->mutable_request()->mutable_sampling()->set_max_tokens(max_tokens);
  *started->mutable_decision() = *decision;
  started->set_at_ms(context.now_ms());
  if (c.tools().tools_size() > 0) {
    *started->mutable_tools() = c.tools();
    *started->mutable_tools()->mutable_settings() = c.settings();
    *started->mutable_tools()->mutable_principal() = context.principal();
    *started->mutable_constitution() = c.constitution();
  }
  if (auto why = denial(*decision); !why.code().empty()) {
    fail_call(d, why, context.now_ms());
    return d;
  }
  started->set_reservation_id(derive_id(context, "res"));
  started->set_reserve_tokens(tokens);
  reserve(d, self, started->reservation_id(), tokens, context.principal().subject());
  return d;
}

void give_back(Decided& d, const ActorKey& self, const std::string& reservation_id,
               const std::string& reason) {
  v1::TenantCommand back;
  back.mutable_release_budget()->set_reservation_id(reservation_id);
  back.mutable_release_budget()->set_reason(reason);
  send_to_tenant(d, self, back);
}

void settle(Decided& d, const ActorKey& self, const v1::InferenceState& s, std::uint64_t used) {
  v1::TenantCommand command;
  command.mutable_settle_budget()->set_reservation_id(s.reservation_id());
  command.mutable_settle_budget()->set_used_tokens(static_cast<std::int64_t>(used));
  send_to_tenant(d, self, command);
}

Result<Decided> granted(const ActorKey& self, const v1::InferenceState& s,
                        const v1::BudgetGranted& c, const v1::Context& context) {
  Decided d = replying(self);
  if (s.stage() != v1::INFERENCE_RESERVING || s.reservation_id() != c.reservation_id()) {
    give_back(d, self, c.reservation_id(), "the call had ended");
    return d;
  }
  d.events.emplace_back().mutable_inference_budget_reserved()->set_tokens(c.tokens());
  if (embeds(s)) return d;  // an effect of this actor
  v1::ModelCommand call;
  auto* request = call.mutable_request_call()->mutable_request();
  *request = s.request();
  for (const auto& tool : s.tools().tools()) *request->add_tools() = tool.tool();
  *request->mutable_terms() = call_terms(s.decision(), self.tenant, s.has_tools());
  d.sends.push_back(
      {pool_key(self.tenant, s.request().model(), context.partition()), deterministic_bytes(call)});
  return d;
}

Result<Decided> answered(const ActorKey& self, const v1::InferenceState& s,
                         const v1::ModelAnswer& answer, const v1::Context& context) {
  Decided d = replying(self);
  if (s.stage() != v1::INFERENCE_CALLING || s.request().call_id() != answer.call_id()) return d;
  auto calls = judge_tool_calls(d, self, s, answer, context);
  auto* event = d.events.emplace_back().mutable_inference_answered();
  *event->mutable_answer() = answer;
  event->set_at_ms(context.now_ms());
  for (auto& call : calls) *event->add_tool_calls() = std::move(call);
  settle(d, self, s, answer.usage().prompt_tokens() + answer.usage().completion_tokens());
  return d;
}

// The call was not sent: it is judged again under what is in force now, in the name of who asked.
// Nobody waits for a person here.
Result<Decided> judge_again(const ActorKey& self, const v1::InferenceState& s,
                            const v1::CallHeld& c, const v1::Context& context) {
  Decided d = replying(self);
  if (s.stage() != v1::INFERENCE_CALLING || s.request().call_id() != c.call_id()) return d;
  const auto& terms = c.terms();
  auto decision =
      judge(s.decision().input(), terms.settings().deployment_mode(), derive_id(context, "dec"),
            terms.constitution(), terms.settings().policy(), terms.rules(),
            {self.tenant, &terms.asker(), {}, s.decision().asker().model()});
  if (decision) {
    decision->set_settings_version(terms.settings().version());
    auto* decided = d.events.emplace_back().mutable_policy_decided();
    *decided->mutable_decision() = *decision;
    decided->set_at_ms(context.now_ms());
  }
  give_back(d, self, s.reservation_id(), "the call was judged again before it was sent");
  if (auto why = why_not(terms, decision); !why.code().empty()) {
    fail_call(d, why, context.now_ms());
    return d;
  }
  auto* again = d.events.emplace_back().mutable_judged_again();
  *again->mutable_decision() = *decision;
  again->set_reservation_id(derive_id(context, "res"));
  again->set_reserve_tokens(s.reserved_tokens());
  again->set_attempts(c.attempt());
  again->set_at_ms(context.now_ms());
  if (s.has_tools()) *again->mutable_terms() = terms;
  reserve(d, self, again->reservation_id(), s.reserved_tokens(), terms.asker().subject());
  return d;
}

void judged_again(v1::InferenceState& s, const v1::InferenceJudgedAgain& e) {
  *s.mutable_decision() = e.decision();
  s.set_reservation_id(e.reservation_id());
  s.set_reserved_tokens(e.reserve_tokens());
  s.set_stage(v1::INFERENCE_RESERVING);
  s.set_attempt(e.attempts() + 1);
  s.set_not_before_ms(0);
  s.mutable_request()->set_attempts_before(e.attempts());
  if (!e.has_terms()) return;
  *s.mutable_constitution() = e.terms().constitution();
  *s.mutable_tools()->mutable_settings() = e.terms().settings();
  *s.mutable_tools()->mutable_rules() = e.terms().rules();
  *s.mutable_tools()->mutable_principal() = e.terms().asker();
}

// What is in force could not be read: nothing was sent.
bool terms_unread(const v1::Failure& failure) { return failure.code() == "terms_unread"; }

// What the embedding server said.
Result<Decided> embedded(const ActorKey& self, const v1::InferenceState& s,
                         const v1::EffectOutcome& o, const v1::Context& context) {
  Decided d = replying(self);
  if (s.stage() != v1::INFERENCE_CALLING || !embeds(s) || o.attempt() != s.attempt()) return d;
  v1::EmbedResult result;
  const bool read = o.has_result() && result.ParseFromString(o.result());
  if (read && result.has_held()) {
    v1::CallHeld held;
    held.set_call_id(s.request().call_id());
    held.set_attempt(o.attempt());
    *held.mutable_terms() = result.held();
    return judge_again(self, s, held, context);
  }
  if (read && result.embeddings_size() == s.request().messages_size()) {
    if (!s.primary().empty()) {
      auto* used = d.events.emplace_back().mutable_fallback_used();
      used->set_call_id(s.request().call_id());
      used->set_primary(s.primary());
      used->set_model(s.request().model());
      *used->mutable_caller() = to_ref(self);
      used->set_profile(s.request().profile());
      used->set_at_ms(context.now_ms());
    }
    auto* event = d.events.emplace_back().mutable_inference_embedded();
    *event->mutable_result() = result;
    event->set_at_ms(context.now_ms());
    settle(d, self, s, result.prompt_tokens());
    return d;
  }
  v1::Failure failure = o.failure();
  if (!o.has_failure()) {
    failure.set_code("model_unavailable");
    failure.set_message("the embedding's outcome could not be read");
    failure.set_retryable(true);
  }
  const bool unread = terms_unread(failure);  // no fault of the model: until the deadline
  const bool other_model = !unread && !s.request().fallbacks().empty();
  const std::uint32_t tried = std::max(s.model_attempts(), 1u);
  const std::int64_t wait_ms =
      other_model ? 0
                  : 1000LL << (unread ? std::min(o.attempt() - 1, kUnreadDoublings) : tried - 1);
  const std::int64_t again_at = context.now_ms() + wait_ms;
  const bool in_time = s.request().deadline_ms() == 0 || again_at < s.request().deadline_ms();
  if (failure.retryable() && (unread || other_model || tried < kMaxEmbedAttempts) && in_time) {
    auto* again = d.events.emplace_back().mutable_inference_restarted();
    again->set_attempt(o.attempt() + 1);
    again->set_not_before_ms(again_at);
    if (other_model) again->set_model(s.request().fallbacks(0));
    *again->mutable_failure() = failure;
    return d;
  }
  fail_call(d, failure, context.now_ms());
  give_back(d, self, s.reservation_id(), "the embedding failed");
  return d;
}

Result<Decided> cancel(const ActorKey& self, const v1::InferenceState& s,
                       const v1::CancelInference& c, const v1::Context& context) {
  Decided d = replying(self);
  if (s.stage() == v1::INFERENCE_STAGE_UNSPECIFIED)
    return fail(Code::kNotFound, "Request not found");
  if (s.stage() != v1::INFERENCE_RESERVING && s.stage() != v1::INFERENCE_CALLING) return d;
  v1::Failure f;
  f.set_code("cancelled");
  f.set_message(c.reason().empty() ? "the call was cancelled" : c.reason());
  fail_call(d, f, context.now_ms());
  if (s.stage() == v1::INFERENCE_CALLING && !embeds(s)) {
    v1::ModelCommand stop;
    stop.mutable_cancel_call()->set_call_id(s.request().call_id());
    stop.mutable_cancel_call()->set_reason(f.message());
    d.sends.push_back({pool_key(self.tenant, s.request().model(), context.partition()),
                       deterministic_bytes(stop)});
  }
  give_back(d, self, s.reservation_id(), f.message());
  return d;
}

void restarted(v1::InferenceState& s, const v1::InferenceRestarted& e) {
  s.set_attempt(e.attempt());
  s.set_not_before_ms(e.not_before_ms());
  if (!e.model().empty())
    s.set_model_attempts(1);
  else if (!terms_unread(e.failure()))  // else the model was not asked
    s.set_model_attempts(s.model_attempts() + 1);
  if (e.model().empty()) return;
  if (s.primary().empty())
    s.set_primary(s.request().model().empty() ? "default" : s.request().model());
  s.mutable_request()->set_model(e.model());
  auto& left = *s.mutable_request()->mutable_fallbacks();
  if (!left.empty()) left.DeleteSubrange(0, 1);
}

}  // namespace

Result<Decided> InferenceDecider::decide(const ActorKey& self, const State& s, const Command& c,
                                         const v1::Context& context) {
  switch (c.kind_case()) {
    case Command::kStartInference:
      return start(self, s, c.start_inference(), context);
    case Command::kCancelInference:
      return cancel(self, s, c.cancel_inference(), context);
    case Command::kBudgetGranted:
      return granted(self, s, c.budget_granted(), context);
    case Command::kBudgetDenied: {
      Decided d = replying(self);
      if (s.stage() != v1::INFERENCE_RESERVING ||
          s.reservation_id() != c.budget_denied().reservation_id())
        return d;
      v1::Failure f;
      f.set_code("budget_exhausted");
      f.set_message(shortage_text(c.budget_denied().shortage()));
      if (c.budget_denied().shortage().resets_ms() > 0)
        f.set_retry_after_ms(c.budget_denied().shortage().resets_ms() - context.now_ms());
      fail_call(d, f, context.now_ms());
      *d.events.back().mutable_inference_failed()->mutable_shortage() =
          c.budget_denied().shortage();
      return d;
    }
    case Command::kCallProgress: {
      Decided d = replying(self);
      if (s.stage() == v1::INFERENCE_CALLING &&
          s.request().call_id() == c.call_progress().call_id())
        d.events.emplace_back().mutable_inference_restarted()->set_attempt(
            c.call_progress().attempt());
      return d;
    }
    case Command::kCallHeld:
      return judge_again(self, s, c.call_held(), context);
    case Command::kCallSucceeded:
      return answered(self, s, c.call_succeeded().answer(), context);
    case Command::kCallDied: {
      Decided d = replying(self);
      if (s.stage() != v1::INFERENCE_CALLING || s.request().call_id() != c.call_died().call_id())
        return d;
      fail_call(d, c.call_died().failure(), context.now_ms());
      give_back(d, self, s.reservation_id(), "the model call failed");
      return d;
    }
    case Command::kEffectOutcome:
      return embedded(self, s, c.effect_outcome(), context);
    case Command::KIND_NOT_SET:
      break;
  }
  return fail(Code::kInvalidArgument, "command has no case", "command");
}

void InferenceDecider::evolve(State& s, const Event& e) {
  switch (e.kind_case()) {
    case Event::kInferenceStarted:
      *s.mutable_request() = e.inference_started().request();
      *s.mutable_decision() = e.inference_started().decision();
      s.set_reservation_id(e.inference_started().reservation_id());
      s.set_reserved_tokens(e.inference_started().reserve_tokens());
      s.set_started_ms(e.inference_started().at_ms());
      if (e.inference_started().has_tools()) {
        *s.mutable_tools() = e.inference_started().tools();
        *s.mutable_constitution() = e.inference_started().constitution();
      }
      s.set_stage(v1::INFERENCE_RESERVING);
      s.set_attempt(1);
      s.set_model_attempts(1);
      return;
    case Event::kPolicyDecided:
      return;  // told to others; the call's start holds it
    case Event::kInferenceBudgetReserved:
      s.set_stage(v1::INFERENCE_CALLING);
      return;
    case Event::kJudgedAgain:
      return judged_again(s, e.judged_again());
    case Event::kInferenceRestarted:
      return restarted(s, e.inference_restarted());
    case Event::kFallbackUsed:
      return;  // told to others
    case Event::kInferenceEmbedded:
      *s.mutable_embedded() = e.inference_embedded().result();
      s.set_finished_ms(e.inference_embedded().at_ms());
      s.set_stage(v1::INFERENCE_DONE);
      return;
    case Event::kInferenceAnswered:
      *s.mutable_answer() = e.inference_answered().answer();
      *s.mutable_tool_calls() = e.inference_answered().tool_calls();
      s.clear_tools();  // the start's event has them
      s.clear_constitution();
      s.set_finished_ms(e.inference_answered().at_ms());
      s.set_stage(v1::INFERENCE_DONE);
      return;
    case Event::kInferenceFailed:
      *s.mutable_error() = e.inference_failed().failure();
      if (e.inference_failed().has_shortage())
        *s.mutable_shortage() = e.inference_failed().shortage();
      s.set_finished_ms(e.inference_failed().at_ms());
      s.set_stage(v1::INFERENCE_FAILED);
      return;
    case Event::KIND_NOT_SET:
      return;
  }
}

std::vector<Effect> InferenceDecider::effects(const ActorKey& self, const State& s) {
  if (s.stage() != v1::INFERENCE_CALLING || !embeds(s)) return {};
  v1::EmbedRequest request;
  request.set_model(s.request().model());
  for (const auto& m : s.request().messages()) request.add_texts(m.content());
  *request.mutable_terms() = call_terms(s.decision(), self.tenant, false);
  return {{s.request().call_id(), "memory.embed", EffectClass::kIdempotent, s.attempt(),
           s.not_before_ms(), s.request().deadline_ms(), request.SerializeAsString()}};
}

std::string InferenceDecider::event_type(const Event& e) {
  switch (e.kind_case()) {
    case Event::kInferenceStarted:
      return "inference.started";
    case Event::kInferenceBudgetReserved:
      return "inference.budget_reserved";
    case Event::kInferenceRestarted:
      return "inference.restarted";
    case Event::kJudgedAgain:
      return "inference.judged_again";
    case Event::kInferenceAnswered:
      return "inference.answered";
    case Event::kInferenceFailed:
      return "inference.failed";
    case Event::kInferenceEmbedded:
      return "inference.embedded";
    case Event::kFallbackUsed:
      return "model.fallback.used";
    case Event::kPolicyDecided:
      return "policy.decided";
    case Event::KIND_NOT_SET:
      break;
  }
  return {};
}

}  // namespace soma::actors
