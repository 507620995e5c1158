// The pool's rules: bounded queue, slots, retries with back-off; a freed slot is filled in the same
// decision.
#include "actors/model/model.h"

#include <algorithm>

#include "actors/actor_type.h"
#include "soma/v1/inference.pb.h"
#include "soma/v1/session.pb.h"

namespace soma::actors {

namespace {

using Decided = ModelDecider::Decided;
constexpr std::uint32_t kDefaultSlots = 8;
constexpr std::uint32_t kDefaultQueueLimit = 10'000;
constexpr std::uint32_t kMaxAttempts = 4;
constexpr std::int64_t kMaxBackOffMs = 60'000;
constexpr std::int64_t kMaxUnreadWaitMs = 8'000;    // until what is in force is read again
constexpr std::uint32_t kSickAfter = 8;             // failed attempts in a row
constexpr std::int64_t kBreakerMs = 5'000;          // that no new call is made
constexpr std::int64_t kProbeWaitMs = 1000;         // while one call tries whether it answers again
constexpr std::int64_t kMaxRetryAfterMs = 600'000;  // a provider's wish is granted so far

std::uint32_t slots(const v1::ModelState& s) { return s.slots() ? s.slots() : kDefaultSlots; }
std::uint32_t queue_limit(const v1::ModelState& s) {
  return s.queue_limit() ? s.queue_limit() : kDefaultQueueLimit;
}

template <typename Fill>
void tell(Decided& d, const v1::ActorRef& caller, Fill fill) {
  if (caller.type() == "inference") {
    v1::InferenceCommand command;
    fill(command);
    d.sends.push_back({to_key(caller), deterministic_bytes(command)});
  } else {
    v1::SessionCommand command;
    fill(command);
    d.sends.push_back({to_key(caller), deterministic_bytes(command)});
  }
}

// A runner's "unavailable": nothing was sent, as no connection came about.
bool not_started(const v1::Failure& failure) { return failure.code() == "unavailable"; }

// What is in force could not be read: nothing was sent, for no fault of the provider.
bool terms_unread(const v1::Failure& failure) { return failure.code() == "terms_unread"; }

// The provider is away or broken; not that it refused, was busy, or that we crashed.
bool sick(const v1::Failure& failure) {
  return failure.retryable() && (failure.code() == "model_unavailable" || not_started(failure));
}

// The provider is there: it refused, was busy, or did not end what it said.
bool answered_badly(const v1::Failure& failure) {
  return failure.code() == "incomplete_answer" || failure.code() == "invalid_argument" ||
         failure.code() == "rate_limited";
}

// How long no new call is made of the pool's own model; 0: it is. Once the while is over one call
// tries, and the others wait for it.
std::int64_t breaker_wait_ms(const v1::ModelState& state, std::int64_t now_ms) {
  if (state.failed_in_row() < kSickAfter) return 0;
  if (now_ms < state.open_until_ms()) return state.open_until_ms() - now_ms;
  const bool probed =
      std::any_of(state.running().begin(), state.running().end(), [&](const auto& running) {
        return running.second.primary().empty() && running.second.not_before_ms() <= now_ms;
      });
  return probed ? kProbeWaitMs : 0;
}

v1::Failure breaker_failure(const v1::ModelState& state, std::int64_t wait_ms) {
  v1::Failure f;
  f.set_code("unavailable");  // nothing was sent
  f.set_message("the model failed " + std::to_string(state.failed_in_row()) +
                " times in a row; it is asked again in " + std::to_string((wait_ms + 999) / 1000) +
                " s");
  f.set_retryable(true);
  f.set_retry_after_ms(wait_ms);
  return f;
}

// To its caller a model that could not be reached is as dead as one that failed.
void tell_died(Decided& d, const v1::ModelRequest& request, v1::Failure failure,
               std::uint32_t attempts) {
  const bool unreachable = not_started(failure);
  const bool unstarted = unreachable || terms_unread(failure);
  if (unreachable) failure.set_code("model_unavailable");
  tell(d, request.caller(), [&](auto& c) {
    c.mutable_call_died()->set_call_id(request.call_id());
    *c.mutable_call_died()->mutable_failure() = failure;
    c.mutable_call_died()->set_attempts(attempts);
    c.mutable_call_died()->set_not_started(unstarted);
  });
}

void start(Decided& d, const std::string& call_id, std::uint32_t attempt,
           std::int64_t not_before_ms) {
  auto* started = d.events.emplace_back().mutable_call_started();
  started->set_call_id(call_id);
  started->set_attempt(attempt);
  started->set_not_before_ms(not_before_ms);
}

void start_first(Decided& d, const v1::ModelRequest& request) {
  start(d, request.call_id(), request.attempts_before() + 1, 0);
}

// The slot that a call leaves goes to the first that waits.
void start_next(Decided& d, const v1::ModelState& state) {
  if (state.waiting_size() > 0 && static_cast<std::uint32_t>(state.running_size()) <= slots(state))
    start_first(d, state.waiting(0).request());
}

bool known(const v1::ModelState& state, const std::string& call_id) {
  return state.running().contains(call_id) ||
         std::any_of(state.waiting().begin(), state.waiting().end(),
                     [&](const auto& w) { return w.request().call_id() == call_id; });
}

Result<Decided> request_call(const v1::ModelState& state, const v1::ModelRequest& request,
                             const v1::Context& context) {
  if (request.call_id().empty())
    return fail(Code::kInvalidArgument, "call_id must not be empty", "call_id");
  Decided d;
  d.reply.set_call_id(request.call_id());
  if (known(state, request.call_id())) return d;
  if (static_cast<std::uint32_t>(state.waiting_size()) >= queue_limit(state)) {
    auto* refused = d.events.emplace_back().mutable_call_refused();
    refused->set_call_id(request.call_id());
    refused->mutable_failure()->set_code("overloaded");
    refused->mutable_failure()->set_message("the model's queue is full");
    refused->mutable_failure()->set_retryable(true);
    tell_died(d, request, refused->failure(), 0);
    return d;
  }
  const std::int64_t wait_ms = breaker_wait_ms(state, context.now_ms());
  if (wait_ms > 0 && request.fallbacks().empty()) {
    auto* refused = d.events.emplace_back().mutable_call_refused();
    refused->set_call_id(request.call_id());
    *refused->mutable_failure() = breaker_failure(state, wait_ms);
    tell_died(d, request, refused->failure(), 0);
    return d;
  }
  auto* queued = d.events.emplace_back().mutable_call_queued();
  *queued->mutable_request() = request;
  queued->set_at_ms(context.now_ms());
  if (static_cast<std::uint32_t>(state.running_size()) >= slots(state)) return d;
  start_first(d, request);
  if (wait_ms > 0) {  // the next of its profile is asked at once
    auto* started = d.events.back().mutable_call_started();
    started->set_model(request.fallbacks(0));
    *started->mutable_failure() = breaker_failure(state, wait_ms);
  }
  return d;
}

Result<Decided> cancel(const v1::ModelState& state, const v1::CancelCall& command) {
  Decided d;
  d.reply.set_call_id(command.call_id());
  if (!known(state, command.call_id())) return d;
  auto* cancelled = d.events.emplace_back().mutable_call_cancelled();
  cancelled->set_call_id(command.call_id());
  cancelled->set_reason(command.reason());
  if (state.running().contains(command.call_id())) start_next(d, state);
  return d;
}

// Whether a provider's answer is an answer for this caller, else why not.
v1::Failure judge(const v1::ModelRequest& request, const v1::ModelAnswer& answer) {
  v1::Failure failure;
  const bool tools = request.tools_size() > 0 && answer.tool_calls_size() > 0;
  if (answer.finish_reason() == "stop" || (answer.finish_reason() == "tool_calls" && tools) ||
      (answer.finish_reason() == "length" && request.allow_length()))
    return failure;
  failure.set_code("incomplete_answer");
  failure.set_message(answer.finish_reason() == "length"
                          ? "the model stopped at max_tokens before its answer was complete"
                          : "the model ended with finish_reason \"" + answer.finish_reason() +
                                "\"");
  return failure;
}

Result<Decided> answered(const v1::ModelState& state, const v1::RunningCall& call,
                         v1::ModelAnswer answer, const v1::Context& context) {
  Decided d;
  d.reply.set_call_id(answer.call_id());
  answer.set_attempt(call.attempt());
  if (!call.request().user().empty()) answer.set_user(call.request().user());
  answer.set_fallback_of(call.primary());
  *d.events.emplace_back().mutable_call_answered()->mutable_answer() = answer;
  if (!call.primary().empty()) {
    auto* used = d.events.emplace_back().mutable_fallback_used();
    used->set_call_id(answer.call_id());
    used->set_primary(call.primary());
    used->set_model(call.request().model());
    *used->mutable_caller() = call.request().caller();
    used->set_profile(call.request().profile());
    used->set_at_ms(context.now_ms());
  }
  tell(d, call.request().caller(),
       [&](auto& c) { *c.mutable_call_succeeded()->mutable_answer() = answer; });
  start_next(d, state);
  return d;
}

Result<Decided> failed(const v1::ModelState& state, const v1::RunningCall& call,
                       const v1::Failure& failure, const v1::Context& context) {
  Decided d;
  const auto& request = call.request();
  d.reply.set_call_id(request.call_id());
  const bool own = call.primary().empty();  // not another of its profile
  if (own && sick(failure) && state.failed_in_row() + 1 >= kSickAfter &&
      context.now_ms() >= state.open_until_ms()) {
    auto* opened = d.events.emplace_back().mutable_breaker_opened();
    opened->set_failed_in_row(state.failed_in_row() + 1);
    opened->set_until_ms(context.now_ms() + kBreakerMs);
    *opened->mutable_failure() = failure;
  }
  const bool interrupted =
      failure.code() == "interrupted";  // by a crash of ours: no fault of the provider
  const std::uint32_t tried = std::max(call.model_attempts(), 1u);
  const bool unread = terms_unread(failure);  // until it is, or the deadline passes
  const bool ours = interrupted || unread;
  const bool other_model = !ours && failure.retryable() && !request.fallbacks().empty();
  const bool give_up = request.report_unstarted() && not_started(failure);
  const std::int64_t back_off =
      interrupted || other_model ? 0
      : unread
          ? std::min<std::int64_t>(kMaxUnreadWaitMs, 1000LL << std::min(call.attempt() - 1, 10u))
          : std::min<std::int64_t>(kMaxBackOffMs, 1000LL << std::min(tried - 1, 10u));
  const std::int64_t wait =
      other_model ? 0 : std::max(back_off, std::min(failure.retry_after_ms(), kMaxRetryAfterMs));
  const std::int64_t again_at = context.now_ms() + wait;
  const bool in_time = request.deadline_ms() == 0 || again_at < request.deadline_ms();
  const bool again = ours || other_model || (!give_up && tried < kMaxAttempts);
  if (failure.retryable() && again && in_time) {
    start(d, request.call_id(), call.attempt() + 1, again_at);
    auto* started = d.events.back().mutable_call_started();
    *started->mutable_failure() = failure;
    if (other_model) started->set_model(request.fallbacks(0));
    tell(d, request.caller(), [&](auto& c) {
      c.mutable_call_progress()->set_call_id(request.call_id());
      c.mutable_call_progress()->set_attempt(call.attempt() + 1);
    });
    return d;
  }
  auto* event = d.events.emplace_back().mutable_call_failed();
  event->set_call_id(request.call_id());
  *event->mutable_failure() = failure;
  event->set_attempts(call.attempt());
  tell_died(d, request, failure, call.attempt());
  start_next(d, state);
  return d;
}

// Not sent: its caller judges it again under what is in force now, and asks anew if it may.
Result<Decided> held_back(const v1::ModelState& state, const v1::RunningCall& call,
                          const v1::StartTerms& terms) {
  Decided d;
  const std::string& id = call.request().call_id();
  d.reply.set_call_id(id);
  auto* held = d.events.emplace_back().mutable_call_held();
  held->set_call_id(id);
  held->set_attempt(call.attempt());
  tell(d, call.request().caller(), [&](auto& c) {
    c.mutable_call_held()->set_call_id(id);
    c.mutable_call_held()->set_attempt(call.attempt());
    *c.mutable_call_held()->mutable_terms() = terms;
  });
  start_next(d, state);
  return d;
}

Result<Decided> outcome(const v1::ModelState& state, const v1::EffectOutcome& o,
                        const v1::Context& context) {
  auto it = state.running().find(o.effect_id());
  if (it == state.running().end() ||
      it->second.attempt() != o.attempt()) {  // cancelled, or an old attempt
    Decided d;
    d.reply.set_call_id(o.effect_id());
    return d;
  }
  if (o.has_result()) {
    v1::ModelAnswer answer;
    if (answer.ParseFromString(o.result())) {
      if (answer.has_held()) return held_back(state, it->second, answer.held());
      answer.set_call_id(o.effect_id());
      v1::Failure bad = judge(it->second.request(), answer);
      return bad.code().empty() ? answered(state, it->second, std::move(answer), context)
                                : failed(state, it->second, bad, context);
    }
  }
  v1::Failure failure = o.failure();
  if (!o.has_failure()) {
    failure.set_code("model_unavailable");
    failure.set_message(o.has_unknown() ? o.unknown() : "the model's outcome could not be read");
    failure.set_retryable(true);
  }
  return failed(state, it->second, failure, context);
}

// Whether the call is one of the pool's own model, or of another of its profile.
bool asks_own(const v1::ModelState& s, const std::string& call_id) {
  const auto it = s.running().find(call_id);
  return it != s.running().end() && it->second.primary().empty();
}

void count_failure(v1::ModelState& s, const std::string& call_id, const v1::Failure& failure) {
  if (!asks_own(s, call_id)) return;
  if (sick(failure)) return s.set_failed_in_row(s.failed_in_row() + 1);
  if (!answered_badly(failure)) return;
  s.clear_failed_in_row();
  s.clear_open_until_ms();
}

void finish(v1::ModelState& s, const std::string& call_id) {
  s.mutable_running()->erase(call_id);
  for (int i = 0; i < s.waiting_size(); ++i) {
    if (s.waiting(i).request().call_id() != call_id) continue;
    s.mutable_waiting()->DeleteSubrange(i, 1);
    return;
  }
}

void take_slot(v1::ModelState& s, const v1::CallStarted& e) {
  auto it = s.mutable_running()->find(e.call_id());
  if (it == s.mutable_running()->end()) {
    for (int i = 0; i < s.waiting_size(); ++i) {
      if (s.waiting(i).request().call_id() != e.call_id()) continue;
      it = s.mutable_running()->insert({e.call_id(), s.waiting(i)}).first;
      s.mutable_waiting()->DeleteSubrange(i, 1);
      break;
    }
  }
  if (it == s.mutable_running()->end()) return;
  auto& call = it->second;
  if (!e.model().empty())
    call.set_model_attempts(1);
  else if (!terms_unread(e.failure()))  // else the model was not asked
    call.set_model_attempts(call.model_attempts() + 1);
  if (!e.model().empty()) {
    auto* request = call.mutable_request();
    if (call.primary().empty())
      call.set_primary(request->model().empty() ? "default" : request->model());
    request->set_model(e.model());
    auto& left = *request->mutable_fallbacks();
    if (!left.empty()) left.DeleteSubrange(0, 1);
  }
  it->second.set_attempt(e.attempt());
  it->second.set_not_before_ms(e.not_before_ms());
}

}  // namespace

ActorKey pool_key(const std::string& tenant, const std::string& model, std::uint32_t partition) {
  const std::string n = std::to_string(partition);
  return {tenant, "model", (model.empty() ? "default" : model) + "@p" + n, "#" + n};
}

Result<Decided> ModelDecider::decide(const ActorKey&, const State& state, const Command& command,
                                     const v1::Context& context) {
  switch (command.kind_case()) {
    case Command::kRequestCall:
      return request_call(state, command.request_call().request(), context);
    case Command::kCancelCall:
      return cancel(state, command.cancel_call());
    case Command::kConfigurePool: {
      Decided d;
      auto* configured = d.events.emplace_back().mutable_pool_configured();
      configured->set_slots(command.configure_pool().slots());
      configured->set_queue_limit(command.configure_pool().queue_limit());
      return d;
    }
    case Command::kEffectOutcome:
      return outcome(state, command.effect_outcome(), context);
    case Command::KIND_NOT_SET:
      break;
  }
  return fail(Code::kInvalidArgument, "command has no case", "command");
}

void ModelDecider::evolve(State& s, const Event& e) {
  switch (e.kind_case()) {
    case Event::kCallQueued: {
      auto* call = s.add_waiting();
      *call->mutable_request() = e.call_queued().request();
      call->set_queued_ms(e.call_queued().at_ms());
      return;
    }
    case Event::kCallStarted:
      count_failure(s, e.call_started().call_id(), e.call_started().failure());
      take_slot(s, e.call_started());
      return;
    case Event::kCallAnswered:
      if (asks_own(s, e.call_answered().answer().call_id())) {
        s.clear_failed_in_row();
        s.clear_open_until_ms();
      }
      finish(s, e.call_answered().answer().call_id());
      s.set_completed(s.completed() + 1);
      return;
    case Event::kCallFailed:
      count_failure(s, e.call_failed().call_id(), e.call_failed().failure());
      finish(s, e.call_failed().call_id());
      s.set_failed(s.failed() + 1);
      return;
    case Event::kCallCancelled:
      finish(s, e.call_cancelled().call_id());
      return;
    case Event::kCallHeld:
      finish(s, e.call_held().call_id());
      return;
    case Event::kCallRefused:
      s.set_failed(s.failed() + 1);
      return;
    case Event::kBreakerOpened:
      s.set_open_until_ms(e.breaker_opened().until_ms());
      return;
    case Event::kFallbackUsed:
      return;  // told to others; the answer says it too
    case Event::kPoolConfigured:
      s.set_slots(e.pool_configured().slots());
      s.set_queue_limit(e.pool_configured().queue_limit());
      return;
    case Event::KIND_NOT_SET:
      return;
  }
}

std::vector<Effect> ModelDecider::effects(const ActorKey&, const State& s) {
  std::vector<Effect> out;
  for (const auto& [id, call] : s.running())
    out.push_back({id, "slm.chat", EffectClass::kIdempotent, call.attempt(), call.not_before_ms(),
                   call.request().deadline_ms(), call.request().SerializeAsString(), true});
  return out;
}

std::string ModelDecider::event_type(const Event& e) {
  switch (e.kind_case()) {
    case Event::kCallQueued:
      return "call.queued";
    case Event::kCallStarted:
      return "call.started";
    case Event::kCallAnswered:
      return "call.answered";
    case Event::kCallFailed:
      return "call.failed";
    case Event::kCallCancelled:
      return "call.cancelled";
    case Event::kCallHeld:
      return "call.held";
    case Event::kCallRefused:
      return "call.refused";
    case Event::kPoolConfigured:
      return "pool.configured";
    case Event::kFallbackUsed:
      return "model.fallback.used";
    case Event::kBreakerOpened:
      return "model.breaker_opened";
    case Event::KIND_NOT_SET:
      break;
  }
  return {};
}

}  // namespace soma::actors
