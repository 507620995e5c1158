// Listening first, then submitting, then looking: nothing can slip in between.
#include "runtime/api/inference_wait.h"

#include <atomic>

#include "runtime/api/governed.h"

namespace soma::runtime::api {

namespace {

constexpr std::int64_t kDeadlineMs = 120'000;

class Wait : public std::enable_shared_from_this<Wait> {
 public:
  Wait(const Node& node, ActorKey actor, std::function<void(Result<Finished>)> done)
      : node_(node), actor_(std::move(actor)), done_(std::move(done)) {}

  void begin(Submission submission) {
    auto self = shared_from_this();
    listen_ = node_.frames->listen(actor_, [self](const FrameHub::Events& events) {
      for (const auto& e : events)
        if (e.event.type() == "inference.answered" || e.event.type() == "inference.failed")
          self->look();
    });
    node_.host->submit(std::move(submission), [self](Result<Accepted> r) {
      if (!r) return self->finish(tl::unexpected(r.error()));
      self->accepted_ = *r;
      self->is_accepted_ = true;
      self->look();
    });
    node_.clock->call_at(
        node_.clock->now_ms() + kDeadlineMs + 1000, [weak = std::weak_ptr<Wait>(self)] {
          if (auto alive = weak.lock())
            alive->finish(
                fail(Code::kDeadlineExceeded,
                     "the model did not answer in time; ask again with the same Idempotency-Key"));
        });
  }

 private:
  void look() {
    if (!is_accepted_) return;  // the acceptance looks again
    node_.host->read(actor_, [self = shared_from_this()](Result<StateView> view) {
      if (!view) return self->finish(tl::unexpected(view.error()));
      const auto& state = static_cast<const v1::InferenceState&>(*view->state);
      if (state.stage() == v1::INFERENCE_DONE || state.stage() == v1::INFERENCE_FAILED)
        self->finish(Finished{state, self->accepted_});
    });
  }

  void finish(Result<Finished> result) {
    if (finished_.exchange(true)) return;
    done_(std::move(result));
    // The listener holds this object: it goes on another thread than the one that may be calling
    // it.
    node_.worker->post([self = shared_from_this()] { self->listen_.reset(); });
  }

  const Node& node_;
  const ActorKey actor_;
  const std::function<void(Result<Finished>)> done_;
  FrameHub::Token listen_;
  Accepted accepted_;
  std::atomic<bool> is_accepted_{false}, finished_{false};
};

}  // namespace

std::string call_id_of(const std::string& command_id) {
  v1::Context context;
  context.set_command_id(command_id);
  return actors::derive_id(context, "call");
}

void start_and_wait(const Node& node, const RequestPtr& request, v1::ModelRequest model_request,
                    const std::string& action, std::function<void(Result<Finished>)> done) {
  read_governance(
      node, request,
      [&node, request, model_request = std::move(model_request), action,
       done = std::move(done)](Result<Governance> governance) mutable {
        if (!governance) return done(tl::unexpected(governance.error()));
        v1::InferenceCommand command;
        auto* c = command.mutable_start_inference();
        *c->mutable_settings() = std::move(governance->settings);
        *c->mutable_constitution() = std::move(governance->constitution);
        *c->mutable_policy() = policy_input(*request, action, "slm:infer");
        *c->mutable_request() = std::move(model_request);
        c->mutable_request()->set_deadline_ms(node.clock->now_ms() + kDeadlineMs);
        const std::string id = command_id_of(*request);
        const ActorKey actor{request->tenant(), "inference", created_id("inf", *request, id), {}};
        auto submission = make_submission(*request, actor, command, id);
        std::make_shared<Wait>(node, actor, std::move(done))->begin(std::move(submission));
      });
}

http::Response failure_response(const v1::Failure& failure) {
  const Error error{code_from_name(failure.code()), failure.message(), {}};
  if (failure.code() == "incomplete_answer")
    return http::problem({Code::kModelUnavailable, failure.message(), {}});
  return failure.retryable() ? http::problem_retry(error, 1) : http::problem(error);
}

}  // namespace soma::runtime::api
