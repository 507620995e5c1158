// Listening first, then submitting, then looking: nothing can slip in between.
#include "runtime/api/inference_wait.h"

#include <atomic>
#include <boost/json.hpp>
#include <mutex>
#include <optional>

#include "actors/inference/inference.h"
#include "runtime/api/chat_tools.h"
#include "runtime/api/governed.h"
#include "runtime/api/kill_switch.h"
#include "runtime/api/session_tools.h"
#include "runtime/api/views.h"
#include "schemas/json/json_read.h"
#include "schemas/json/json_text.h"

namespace soma::runtime::api {

namespace {

constexpr std::int64_t kGraceMs = 1000;  // the call's own end, which says more, comes first

class Wait : public std::enable_shared_from_this<Wait> {
 public:
  Wait(const Node& node, ActorKey actor, std::function<void(Result<Finished>)> done)
      : node_(node), actor_(std::move(actor)), done_(std::move(done)) {}

  void begin(Submission submission) {
    auto self = shared_from_this();
    late_ = node_.deadlines->set(
        node_.clock->steady_ms() + node_.model_wait_ms + kGraceMs, [weak = weak_from_this()] {
          if (auto alive = weak.lock())
            alive->finish(
                fail(Code::kDeadlineExceeded,
                     "the model did not answer in time; ask again with the same Idempotency-Key"));
        });
    listen_ = node_.frames->listen(actor_, [self](const FrameHub::Events& events) {
      for (const auto& e : events)
        if (e.event.type() == "inference.answered" || e.event.type() == "inference.embedded" ||
            e.event.type() == "inference.failed")
          self->ended(e.event);
    });
    node_.host->submit(std::move(submission), [self](Result<Accepted> r) {
      if (!r) return self->finish(tl::unexpected(r.error()));
      self->accept(*r);
    });
  }

 private:
  // The end as its event tells it: all that an answer shows, without a read of the actor.
  void ended(const v1::RecordedEvent& recorded) {
    v1::InferenceEvent event;
    if (!event.ParseFromString(recorded.payload())) return;  // the deadline will tell
    std::unique_lock lock(mutex_);
    end_.emplace();
    actors::InferenceDecider::evolve(*end_, event);
    if (!accepted_) return;  // refused at once: the acceptance comes after the frame's events
    Finished finished{*end_, *accepted_};
    lock.unlock();
    finish(std::move(finished));
  }

  void accept(const Accepted& accepted) {
    std::unique_lock lock(mutex_);
    accepted_ = accepted;
    if (end_) {
      Finished finished{*end_, accepted};
      lock.unlock();
      return finish(std::move(finished));
    }
    lock.unlock();
    if (accepted.replayed) look();  // it may have ended long ago
  }

  void look() {
    node_.host->read(actor_, [self = shared_from_this()](Result<StateView> view) {
      if (!view) return self->finish(tl::unexpected(view.error()));
      const auto& state = static_cast<const v1::InferenceState&>(*view->state);
      if (state.stage() == v1::INFERENCE_DONE || state.stage() == v1::INFERENCE_FAILED)
        self->finish(Finished{state, *self->accepted_});
    });
  }

  void finish(Result<Finished> result) {
    if (finished_.exchange(true)) return;
    const auto self = shared_from_this();  // the listener may hold the last other reference
    done_(std::move(result));
    listen_.reset();
    late_.reset();
  }

  const Node& node_;
  const ActorKey actor_;
  const std::function<void(Result<Finished>)> done_;
  FrameHub::Token listen_;
  Deadlines::Token late_;
  std::mutex mutex_;
  std::optional<Accepted> accepted_;
  std::optional<v1::InferenceState> end_;
  std::atomic<bool> finished_{false};
};

}  // namespace

std::string call_id_of(const std::string& command_id) {
  v1::Context context;
  context.set_command_id(command_id);
  return actors::derive_id(context, "call");
}

ActorKey inference_key(const std::string& tenant, const std::string& id) {
  return {tenant, "inference", id, tenant};
}

namespace {

constexpr std::int64_t kHaltedRetryMs = 30'000;  // to ask again under the kill switch

// The start of a call as a submission, under settings and constitution as they stand now.
void prepare(const Node& node, const RequestPtr& request, v1::ModelRequest model_request,
             const std::string& action, const std::string& prefix,
             std::function<void(Result<Submission>)> next) {
  if (node.kill_switch->active()) {
    Error stopped{Code::kUnavailable, "Gateway kill-switch active", {}};
    stopped.retry_after_ms = kHaltedRetryMs;
    return next(tl::unexpected(std::move(stopped)));
  }
  auto policy = policy_input(*request, action, action == "slm.embed" ? "slm:embed" : "slm:infer");
  if (!policy) return next(tl::unexpected(policy.error()));
  const bool embeds = model_request.mode() == "embedding";
  const auto role = embeds ? Result<std::string>(model_request.model().empty() ? "embedding" : "")
                           : chat_role(*request);
  if (!role) return next(tl::unexpected(role.error()));
  read_governance(
      node, request, model_request.model().empty() ? *role : "",
      [&node, request, model_request = std::move(model_request), policy, action, prefix,
       next = std::move(next)](Result<Governance> governance) mutable {
        if (!governance) return next(tl::unexpected(governance.error()));
        v1::InferenceCommand command;
        auto* c = command.mutable_start_inference();
        *c->mutable_settings() = std::move(governance->settings);
        *c->mutable_constitution() = std::move(governance->constitution);
        *c->mutable_policy() = *policy;
        *c->mutable_rules() = rules_for(governance->rules, action);
        if (action == "slm.chat" && offers_tools(request->json.get_object()))
          *c->mutable_tools() = tools_of(*request, *governance);
        *c->mutable_request() = std::move(model_request);
        if (const auto& plan = governance->models; !plan.primary().empty()) {
          c->mutable_request()->set_model(plan.primary());
          *c->mutable_request()->mutable_fallbacks() = plan.fallbacks();
          c->mutable_request()->set_profile(plan.profile());
        }
        c->mutable_request()->set_deadline_ms(node.clock->now_ms() + node.model_wait_ms);
        const std::string id = command_id_of(*request);
        next(make_submission(*request,
                             inference_key(request->tenant(), created_id(prefix, *request, id)),
                             command, id));
      });
}

}  // namespace

void start_inference(const Node& node, const RequestPtr& request, v1::ModelRequest model_request,
                     const std::string& action, const std::string& prefix,
                     std::function<void(Result<Started>)> done) {
  prepare(node, request, std::move(model_request), action, prefix,
          [&node, done = std::move(done)](Result<Submission> s) {
            if (!s) return done(tl::unexpected(s.error()));
            const ActorKey actor = s->actor;
            node.host->submit(std::move(*s), [actor, done](Result<Accepted> a) {
              if (!a) return done(tl::unexpected(a.error()));
              done(Started{actor, *a});
            });
          });
}

void start_and_wait(const Node& node, const RequestPtr& request, v1::ModelRequest model_request,
                    const std::string& action, std::function<void(Result<Finished>)> done) {
  prepare(node, request, std::move(model_request), action, "inf",
          [&node, done = std::move(done)](Result<Submission> s) {
            if (!s) return done(tl::unexpected(s.error()));
            std::make_shared<Wait>(node, s->actor, std::move(done))->begin(std::move(*s));
          });
}

namespace {

http::Response budget_response(const v1::InferenceState& state, const Error& error) {
  const auto& shortage = state.shortage();
  auto response = http::problem(error);
  std::erase_if(response.headers, [](const auto& h) { return h.first == "Retry-After"; });
  if (const auto ms = state.error().retry_after_ms(); ms > 0)
    response.header("Retry-After", std::to_string((ms + 999) / 1000));
  if (!state.has_shortage()) return response;
  auto body = read_json_object(response.body).value();
  body["limit"] = shortage.limit();
  body["remaining"] = shortage.remaining();
  body["resets_at"] = shortage.resets_ms()
                          ? boost::json::value(views::iso_time(shortage.resets_ms()))
                          : boost::json::value(nullptr);
  response.body = json_text(body);
  return response;
}

}  // namespace

http::Response failure_response(const v1::InferenceState& state) {
  const v1::Failure& failure = state.error();
  Error error{code_from_name(failure.code()), failure.message(), {}};
  if (failure.code() == "incomplete_answer") error.code = Code::kModelUnavailable;
  const bool halted = failure.code() == "kill_switch_active";
  if (halted || failure.code() == "terms_unread") error.code = Code::kUnavailable;
  if (failure.code() == "asker_not_admitted") error.code = Code::kForbidden;
  if (failure.code() == "policy_error") error.code = Code::kPolicyDenied;
  const std::int64_t wait_ms = halted ? kHaltedRetryMs : failure.retry_after_ms();
  const auto wait_s = static_cast<int>(std::max<std::int64_t>(1, (wait_ms + 999) / 1000));
  auto response = error.code == Code::kBudgetExhausted ? budget_response(state, error)
                  : failure.retryable() || halted      ? http::problem_retry(error, wait_s)
                                                       : http::problem(error);
  response.settled = true;
  return response;
}

}  // namespace soma::runtime::api
