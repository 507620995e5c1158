// A single governed call: decided, reserved, asked, answered, settled.
#include "actors/inference/inference.h"

#include <algorithm>

#include "actors/actor_type.h"
#include "actors/model/model.h"
#include "actors/policy/judge.h"
#include "actors/session/prompt.h"
#include "actors/tenant/budget.h"
#include "actors/tenant/tenant.h"

namespace soma::actors {

namespace {

using Decided = InferenceDecider::Decided;
constexpr std::size_t kMaxMessages = 256;
constexpr std::size_t kMaxInputBytes = 256 * 1024;
constexpr std::uint32_t kMaxEmbedAttempts = 4;

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

Status check(const v1::ModelRequest& request, std::size_t& bytes) {
  if (request.messages().empty())
    return fail(Code::kInvalidArgument, "messages must not be empty", "body.messages");
  if (static_cast<std::size_t>(request.messages_size()) > kMaxMessages)
    return fail(Code::kInvalidArgument, "at most 256 messages", "body.messages");
  for (const auto& m : request.messages()) bytes += m.content().size();
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
  if (!decision->allow() || decision->needs_approval()) {
    v1::Failure f;
    f.set_code("policy_denied");
    f.set_message(
        decision->needs_approval()
            ? "the call needs a person's approval, for which only a session can wait; decision " +
                  decision->decision_id()
            : "policy denied the call; decision " + decision->decision_id() +
                  " under constitution " +
                  (decision->constitution_hash().empty() ? "none" : decision->constitution_hash()));
    fail_call(d, f, context.now_ms());
    return d;
  }
  started->set_reservation_id(derive_id(context, "res"));
  started->set_reserve_tokens(tokens);
  v1::TenantCommand reserve;
  reserve.mutable_reserve_budget()->set_reservation_id(started->reservation_id());
  reserve.mutable_reserve_budget()->set_tokens(tokens);
  *reserve.mutable_reserve_budget()->mutable_holder() = to_ref(self);
  reserve.mutable_reserve_budget()->set_user(context.principal().subject());
  send_to_tenant(d, self, reserve);
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
  *call.mutable_request_call()->mutable_request() = s.request();
  d.sends.push_back(
      {pool_key(self.tenant, s.request().model(), context.partition()), deterministic_bytes(call)});
  return d;
}

Result<Decided> answered(const ActorKey& self, const v1::InferenceState& s,
                         const v1::ModelAnswer& answer, const v1::Context& context) {
  Decided d = replying(self);
  if (s.stage() != v1::INFERENCE_CALLING || s.request().call_id() != answer.call_id()) return d;
  auto* event = d.events.emplace_back().mutable_inference_answered();
  *event->mutable_answer() = answer;
  event->set_at_ms(context.now_ms());
  settle(d, self, s, answer.usage().prompt_tokens() + answer.usage().completion_tokens());
  return d;
}

// What the embedding server said.
Result<Decided> embedded(const ActorKey& self, const v1::InferenceState& s,
                         const v1::EffectOutcome& o, const v1::Context& context) {
  Decided d = replying(self);
  if (s.stage() != v1::INFERENCE_CALLING || !embeds(s) || o.attempt() != s.attempt()) return d;
  v1::EmbedResult result;
  if (o.has_result() && result.ParseFromString(o.result()) &&
      result.embeddings_size() == s.request().messages_size()) {
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
  const bool other_model = !s.request().fallbacks().empty();
  const std::uint32_t tried = std::max(s.model_attempts(), 1u);
  const std::int64_t again_at = context.now_ms() + (other_model ? 0 : 1000LL << (tried - 1));
  const bool in_time = s.request().deadline_ms() == 0 || again_at < s.request().deadline_ms();
  if (failure.retryable() && (other_model || tried < kMaxEmbedAttempts) && in_time) {
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
  s.set_model_attempts(e.model().empty() ? s.model_attempts() + 1 : 1);
  if (e.model().empty()) return;
  if (s.primary().empty())
    s.set_primary(s.request().model().empty() ? "default" : s.request().model());
  s.mutable_request()->set_model(e.model());
  s.mutable_request()->mutable_fallbacks()->DeleteSubrange(0, 1);
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
      s.set_stage(v1::INFERENCE_RESERVING);
      s.set_attempt(1);
      s.set_model_attempts(1);
      return;
    case Event::kPolicyDecided:
      return;  // told to others; the call's start holds it
    case Event::kInferenceBudgetReserved:
      s.set_stage(v1::INFERENCE_CALLING);
      return;
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

std::vector<Effect> InferenceDecider::effects(const ActorKey&, const State& s) {
  if (s.stage() != v1::INFERENCE_CALLING || !embeds(s)) return {};
  v1::EmbedRequest request;
  request.set_model(s.request().model());
  for (const auto& m : s.request().messages()) request.add_texts(m.content());
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
