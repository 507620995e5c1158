// Kinds of effects and how each is run.
#include "runtime/effects/runner.h"

#include <chrono>
#include <map>
#include <mutex>

#include "runtime/effects/model_metrics.h"
#include "schemas/base/cut_text.h"

namespace soma::runtime {

v1::Failure to_failure(const Error& error) {
  v1::Failure f;
  f.set_code(std::string(code_name(error.code)));
  f.set_message(error.message);
  f.set_retryable(code_disposition(error.code) == Disposition::kRetry);
  f.set_retry_after_ms(error.retry_after_ms);
  return f;
}

namespace {

// Nothing was sent, for no fault of the model: tried again.
v1::Failure terms_unread(const std::string& why) {
  v1::Failure f;
  f.set_code("terms_unread");
  f.set_message("what is in force could not be read: " + why);
  f.set_retryable(true);
  return f;
}

// Failures of a memory's embedding that its history shows; the ones after them are waited out here,
// so that a provider that is away for long does not fill the journal.
constexpr std::uint32_t kTriesTold = 8;
constexpr std::size_t kMostOfAMemory = 4096;  // bytes that a session's recall keeps of one
constexpr std::int64_t kBetweenTriesMs = 60'000;
constexpr std::uint64_t kSpreadMs = 30'000;  // more for some: they do not all come at once

// What is waited for; shared with alarms that may ring after the runner's end. Each wait has a
// number of its own: the same attempt may be begun again while an alarm of its first wait is out.
class Patience {
 public:
  std::uint64_t begin(const std::string& effect_id) {
    const std::lock_guard lock(mutex_);
    return waiting_[effect_id] = ++last_;
  }
  bool waits(const std::string& effect_id, std::uint64_t number) const {
    const std::lock_guard lock(mutex_);
    const auto it = waiting_.find(effect_id);
    return it != waiting_.end() && it->second == number;
  }
  void end(const std::string& effect_id, std::uint64_t number) {
    const std::lock_guard lock(mutex_);
    const auto it = waiting_.find(effect_id);
    if (it != waiting_.end() && it->second == number) waiting_.erase(it);
  }
  void cancel(const std::string& effect_id) {
    const std::lock_guard lock(mutex_);
    waiting_.erase(effect_id);
  }
  // `ask`, unless the runner has ended; it does not end meanwhile.
  template <typename Ask>
  void ring(const Ask& ask) {
    const std::lock_guard lock(ringing_);
    if (!over_) ask();
  }
  void stop() {
    const std::lock_guard lock(ringing_);
    over_ = true;
  }

 private:
  mutable std::mutex mutex_;
  std::map<std::string, std::uint64_t> waiting_;  // effect to the number of its wait
  std::uint64_t last_ = 0;
  std::mutex ringing_;
  bool over_ = false;
};

class Runner final : public EffectRunner {
 public:
  explicit Runner(std::shared_ptr<RunnerParts> parts) : p_(std::move(parts)) {}
  ~Runner() override { patience_->stop(); }

  void run(Job job, OnOutcome done) override {
    if (job.effect.kind == "slm.chat") return chat(std::move(job), std::move(done));
    if (job.effect.kind == "memory.embed") return embed(std::move(job), std::move(done));
    if (job.effect.kind == "memory.recall") return recall(std::move(job), std::move(done));
    finish(job, done,
           fail(Code::kNotSupported, "this node runs no effects of kind " + job.effect.kind));
  }

  void cancel(const std::string& effect_id) override {
    patience_->cancel(effect_id);
    p_->client->cancel(effect_id);
  }

 private:
  static void finish(const Job& job, const OnOutcome& done, Result<std::string> result) {
    v1::EffectOutcome outcome;
    outcome.set_effect_id(job.effect.effect_id);
    outcome.set_attempt(job.effect.attempt);
    if (result)
      outcome.set_result(*result);
    else
      *outcome.mutable_failure() = to_failure(result.error());
    done(std::move(outcome));
  }
  template <typename M>
  static Result<std::string> bytes(const Result<M>& r) {
    if (!r) return tl::unexpected(r.error());
    return r->SerializeAsString();
  }

  // What a job's outcome is reported by; the runner's parts outlive it.
  struct Open {
    Job job;
    OnOutcome done;
    std::chrono::steady_clock::time_point began = std::chrono::steady_clock::now();
    // What this node's stopping cut off has no outcome: its next life, or the partition's next
    // owner, begins it again.
    void end(Result<std::string> result) const {
      if (!result && result.error().field == kStopping) return;
      finish(job, done, std::move(result));
    }
    void end_as(v1::EffectOutcome outcome) const {
      outcome.set_effect_id(job.effect.effect_id);
      outcome.set_attempt(job.effect.attempt);
      done(std::move(outcome));
    }
  };

  // `error`: null when it went well.
  static void measure(const RunnerParts& parts, const Open& open, const char* operation,
                      const std::string& model, const Error* error) {
    if (!parts.metrics) return;
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - open.began;
    record_model_call(*parts.metrics,
                      {operation, model,
                       error ? std::string(code_name(error->code)) : std::string(), took.count()});
  }
  template <typename T>
  static const Error* error_of(const Result<T>& result) {
    return result ? nullptr : &result.error();
  }

  template <typename Request>
  static bool parse(const Open& open, Request& request) {
    if (request.ParseFromString(open.job.effect.request)) return true;
    open.end(fail(Code::kInternal, "the effect's request does not parse"));
    return false;
  }

  // What a call learns at the moment when it would be sent. Told by whoever looks, asked by whoever
  // ends the call: on different threads, in any order.
  class Looked {
   public:
    // Whether the call may be sent.
    bool tell(Result<std::optional<v1::StartTerms>> found) {
      std::lock_guard lock(mutex_);
      found_ = std::move(found);
      return found_->has_value() && !found_->value();
    }
    // The outcome of a call that was not sent for what was found; nothing: that is not why it
    // ended.
    template <typename Answer>
    std::optional<v1::EffectOutcome> not_sent() const {
      std::lock_guard lock(mutex_);
      if (!found_) return {};
      v1::EffectOutcome o;
      if (!*found_) {
        *o.mutable_failure() = terms_unread(found_->error().message);
        return o;
      }
      if (!found_->value()) return {};
      Answer answer;
      *answer.mutable_held() = *found_->value();
      o.set_result(answer.SerializeAsString());
      return o;
    }

   private:
    mutable std::mutex mutex_;
    std::optional<Result<std::optional<v1::StartTerms>>> found_;
  };
  static SlmClient::Before before(const std::shared_ptr<RunnerParts>& parts, const Open& open,
                                  const v1::CallTerms& terms,
                                  const std::shared_ptr<Looked>& looked) {
    if (!parts->look) return {};
    return [parts, tenant = open.job.actor.tenant, terms, looked](std::function<void(bool)> go) {
      parts->look(tenant, terms,
                  [looked, go = std::move(go)](auto found) { go(looked->tell(std::move(found))); });
    };
  }

  void chat(Job job, OnOutcome done) {
    auto open = std::make_shared<const Open>(Open{std::move(job), std::move(done)});
    v1::ModelRequest request;
    if (!parse(*open, request)) return;
    request.set_call_id(open->job.effect.effect_id);  // cancel() knows only this id
    p_->client->when_ready(
        p_->chat_endpoint, [parts = p_, open, request](Result<SlmEndpoint> endpoint) {
          if (!endpoint) {
            measure(*parts, *open, "chat", {}, &endpoint.error());
            Error error = endpoint.error();
            if (error.code == Code::kModelUnavailable) error.code = Code::kUnavailable;  // not sent
            return open->end(tl::unexpected(std::move(error)));
          }
          const std::string& id = request.call_id();
          const std::uint32_t attempt = open->job.effect.attempt;
          const auto looked = std::make_shared<Looked>();
          parts->tokens->begin(id, attempt);
          parts->client->chat(
              *endpoint, request, open->job.traceparent,
              [parts, id, attempt](std::uint32_t index, const std::string& text) {
                parts->tokens->publish(id, attempt, index, text);
              },
              [parts, open, id, attempt, looked](Result<v1::ModelAnswer> answer) {
                auto unsent = answer ? std::nullopt : looked->not_sent<v1::ModelAnswer>();
                if (!unsent && !answer && answer.error().code == Code::kLocked)
                  *unsent.emplace().mutable_failure() = terms_unread(answer.error().message);
                if (unsent) {
                  parts->tokens->finish(id, attempt);
                  return open->end_as(std::move(*unsent));
                }
                measure(*parts, *open, "chat", answer ? answer->model() : std::string(),
                        error_of(answer));
                if (answer) {
                  answer->set_attempt(open->job.effect.attempt);
                  if (parts->metrics) record_tokens(*parts->metrics, *answer);
                }
                // First: whoever hears the outcome finds no call left.
                parts->tokens->finish(id, attempt);
                open->end(bytes(answer));
              },
              before(parts, *open, request.terms(), looked));
        });
  }

  void embed(Job job, OnOutcome done) {
    auto open = std::make_shared<const Open>(Open{std::move(job), std::move(done)});
    v1::EmbedRequest request;
    if (!parse(*open, request)) return;
    const auto& effect = open->job.effect;
    if (!request.has_terms() && p_->clock != nullptr && effect.attempt > kTriesTold) {
      const std::uint64_t number = patience_->begin(effect.effect_id);
      return ask_until_told(p_, patience_, number, open, request);
    }
    ask_vectors(p_, open, request, [open, own = !request.has_terms()](const auto& r) {
      own ? tell_memory(*open, r) : open->end(bytes(r));
    });
  }

  // A prompt shows the beginning of each; with whole payloads what is recalled could be more than
  // one entry of the journal holds.
  static void shorten(v1::RecallResult& result) {
    for (auto& memory : *result.mutable_memories()) {
      memory.clear_payload_json();
      memory.set_text(cut_text(memory.text(), kMostOfAMemory));
    }
  }

  using Embedded = Result<v1::EmbedResult>;

  static void tell_memory(const Open& open, const Embedded& r) {
    if (r || r.error().field != kNoModel) return open.end(bytes(r));
    v1::EffectOutcome o;
    *o.mutable_failure() = to_failure(r.error());
    o.mutable_failure()->set_retryable(false);  // off by the settings: that does not pass
    open.end_as(std::move(o));
  }

  static void ask_until_told(const std::shared_ptr<RunnerParts>& parts,
                             const std::shared_ptr<Patience>& patience, std::uint64_t number,
                             const std::shared_ptr<const Open>& open,
                             const v1::EmbedRequest& request) {
    ask_vectors(parts, open, request, [=](const Embedded& r) {
      const std::string& id = open->job.effect.effect_id;
      const bool passes = !r && r.error().field != kNoModel && r.error().field != kStopping &&
                          code_disposition(r.error().code) == Disposition::kRetry;
      if (!passes || !patience->waits(id, number)) {
        patience->end(id, number);
        return tell_memory(*open, r);
      }
      const auto more = static_cast<std::int64_t>(std::hash<std::string>()(id) % kSpreadMs);
      parts->clock->call_in(kBetweenTriesMs + more, [=] {
        patience->ring([&] {
          const bool still = patience->waits(open->job.effect.effect_id, number);
          still ? ask_until_told(parts, patience, number, open, request) : tell_memory(*open, r);
        });
      });
    });
  }

  static void ask_vectors(const std::shared_ptr<RunnerParts>& parts,
                          const std::shared_ptr<const Open>& open, const v1::EmbedRequest& request,
                          const std::function<void(const Embedded&)>& told) {
    parts->client->when_ready(
        parts->embedding_endpoint, [parts, open, request, told](Result<SlmEndpoint> endpoint) {
          if (!endpoint) {
            measure(*parts, *open, "embeddings", {}, &endpoint.error());
            return told(tl::unexpected(endpoint.error()));
          }
          if (!request.model().empty()) endpoint->model = request.model();
          const auto send = [parts, open, request, told, e = *endpoint] {
            parts->client->embed(e, {request.texts().begin(), request.texts().end()},
                                 [parts, open, told, model = e.model](const Embedded& r) {
                                   measure(*parts, *open, "embeddings", r ? model : std::string(),
                                           error_of(r));
                                   told(r);
                                 });
          };
          const auto looked = std::make_shared<Looked>();
          const auto ask = before(parts, *open, request.terms(), looked);
          if (!ask || !request.has_terms()) return send();  // memory's own embeddings
          ask([open, looked, send](bool go) {
            go ? send() : open->end_as(*looked->not_sent<v1::EmbedResult>());
          });
        });
  }

  void recall(Job job, OnOutcome done) {
    auto open = std::make_shared<const Open>(Open{std::move(job), std::move(done)});
    v1::RecallRequest request;
    if (!parse(*open, request)) return;
    if (!p_->recall) return open->end(fail(Code::kNotSupported, "this node has no memory index"));
    request.set_tenant(open->job.actor.tenant);  // never another's, whatever the request says
    p_->recall(request, [open](Result<v1::RecallResult> r) {
      if (r) shorten(*r);
      open->end(bytes(r));
    });
  }

  std::shared_ptr<RunnerParts> p_;
  const std::shared_ptr<Patience> patience_ = std::make_shared<Patience>();
};

}  // namespace

std::unique_ptr<EffectRunner> make_effect_runner(std::shared_ptr<RunnerParts> parts) {
  return std::make_unique<Runner>(std::move(parts));
}

}  // namespace soma::runtime
