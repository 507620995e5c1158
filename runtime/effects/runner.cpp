// Kinds of effects and how each is run.
#include "runtime/effects/runner.h"

namespace soma::runtime {

v1::Failure to_failure(const Error& error) {
  v1::Failure f;
  f.set_code(std::string(code_name(error.code)));
  f.set_message(error.message);
  f.set_retryable(code_disposition(error.code) == Disposition::kRetry);
  return f;
}

namespace {

class Runner final : public EffectRunner {
 public:
  explicit Runner(std::shared_ptr<RunnerParts> parts) : p_(std::move(parts)) {}

  void run(Job job, OnOutcome done) override {
    if (job.effect.kind == "slm.chat") return chat(std::move(job), std::move(done));
    if (job.effect.kind == "memory.embed") return embed(std::move(job), std::move(done));
    if (job.effect.kind == "memory.recall") return recall(std::move(job), std::move(done));
    finish(job, done, fail(Code::kNotSupported, "this node runs no effects of kind " + job.effect.kind));
  }

  void cancel(const std::string& effect_id) override { p_->client->cancel(effect_id); }

 private:
  static void finish(const Job& job, const OnOutcome& done, Result<std::string> result) {
    v1::EffectOutcome outcome;
    outcome.set_effect_id(job.effect.effect_id);
    outcome.set_attempt(job.effect.attempt);
    if (result) outcome.set_result(*result);
    else *outcome.mutable_failure() = to_failure(result.error());
    done(std::move(outcome));
  }
  template <typename M>
  static Result<std::string> bytes(const Result<M>& r) {
    if (!r) return tl::unexpected(r.error());
    return r->SerializeAsString();
  }

  void chat(Job job, OnOutcome done) {
    v1::ModelRequest request;
    if (!request.ParseFromString(job.effect.request)) return finish(job, done, fail(Code::kInternal, "the request does not parse"));
    auto endpoint = p_->chat_endpoint();
    if (!endpoint) return finish(job, done, tl::unexpected(endpoint.error()));
    const std::uint32_t attempt = job.effect.attempt;
    p_->tokens->begin(request.call_id(), attempt);
    p_->client->chat(*endpoint, request, job.traceparent,
                     [parts = p_, id = request.call_id(), attempt](std::uint32_t index, const std::string& text) {
                       parts->tokens->publish(id, attempt, index, text);
                     },
                     [parts = p_, job, done, id = request.call_id()](Result<v1::ModelAnswer> answer) {
                       finish(job, done, bytes(answer));
                       parts->tokens->finish(id);
                     });
  }

  void embed(Job job, OnOutcome done) {
    v1::EmbedRequest request;
    if (!request.ParseFromString(job.effect.request)) return finish(job, done, fail(Code::kInternal, "the request does not parse"));
    auto endpoint = p_->embedding_endpoint();
    if (!endpoint) return finish(job, done, tl::unexpected(endpoint.error()));
    p_->client->embed(*endpoint, {request.texts().begin(), request.texts().end()},
                      [job, done](Result<v1::EmbedResult> r) { finish(job, done, bytes(r)); });
  }

  void recall(Job job, OnOutcome done) {
    v1::RecallRequest request;
    if (!request.ParseFromString(job.effect.request)) return finish(job, done, fail(Code::kInternal, "the request does not parse"));
    p_->recall(request, [job, done](Result<v1::RecallResult> r) { finish(job, done, bytes(r)); });
  }

  std::shared_ptr<RunnerParts> p_;
};

}  // namespace

std::unique_ptr<EffectRunner> make_effect_runner(std::shared_ptr<RunnerParts> parts) {
  return std::make_unique<Runner>(std::move(parts));
}

}  // namespace soma::runtime
