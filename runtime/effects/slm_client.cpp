// Requests and answers of the model protocol, over one loop.
#include "runtime/effects/slm_client.h"

#include <boost/json.hpp>

#include "runtime/effects/chat_stream.h"
#include "runtime/effects/embed_queue.h"
#include "runtime/effects/json_reading.h"
#include "runtime/effects/model_call.h"

namespace soma::runtime {

namespace {

constexpr std::int64_t kReadyPollMs = 20;

// Header values come from ids and clients: nothing that could start another header.
std::string header_safe(std::string text) {
  std::erase_if(text, [](unsigned char c) { return c < 0x20 || c > 0x7e; });
  return text;
}

// Nothing was sent where no connection came about: kUnavailable tells that from a call that broke.
Error chat_failure(const HttpEnd& end) {
  Error error = failure(end);
  if (end.kind == HttpEnd::Kind::kUnreachable) error.code = Code::kUnavailable;
  return error;
}

class CurlClient final : public SlmClient {
 public:
  explicit CurlClient(ClientTls tls)
      : loop_(kMaxQueued, std::move(tls)), embeddings_(std::make_shared<EmbedQueue>(loop_)) {}
  ~CurlClient() override { loop_.stop(); }

  void stop() override { loop_.stop(); }

  void chat(const SlmEndpoint& e, const v1::ModelRequest& request, const std::string& traceparent,
            OnToken on_token, OnAnswer on_answer, Before before) override {
    auto call = new_call(e, "/chat/completions");
    call->id = request.call_id();
    call->body = chat_body(request, request.model().empty() ? e.model : request.model());
    call->deadline_ms = request.deadline_ms();
    call->before = std::move(before);
    call->headers.push_back("Accept: text/event-stream");
    call->headers.push_back("Idempotency-Key: " + header_safe(request.call_id()));
    if (!traceparent.empty()) call->headers.push_back("traceparent: " + header_safe(traceparent));
    auto stream = std::make_shared<ChatStream>(e, request, std::move(on_token));
    call->on_bytes = [stream](std::string_view bytes, std::string_view type) {
      switch (stream->feed(bytes, type)) {
        case ChatStream::State::kOpen:
          return HttpCall::Next::kMore;
        case ChatStream::State::kDone:
          return HttpCall::Next::kFinished;
        case ChatStream::State::kBad:
          break;
      }
      return HttpCall::Next::kStop;
    };
    call->on_end = [stream, done = std::move(on_answer), key = e.api_key](const HttpEnd& end) {
      const bool whole = answered(end) || end.kind == HttpEnd::Kind::kRefused;
      auto answer = whole ? stream->finish(end.took_ms)
                          : Result<v1::ModelAnswer>(tl::unexpected(chat_failure(end)));
      if (!answer) answer = tl::unexpected(without_key(std::move(answer.error()), key));
      done(std::move(answer));
    };
    loop_.start(std::move(call));
  }

  void embed(const SlmEndpoint& e, const std::vector<std::string>& texts,
             OnEmbeddings done) override {
    if (!texts.empty() && texts.size() <= kMaxTexts)
      return embeddings_->add(e, texts, std::move(done));
    const auto refuse = [done](bool) {
      done(fail(Code::kInvalidArgument, "1 to 256 texts can be embedded at once", "input"));
    };
    if (!loop_.after(0, refuse)) refuse(true);
  }

  void models(const SlmEndpoint& e, OnModels done) override {
    auto call = new_call(e, "/models");
    call->post = false;
    call->max_body = 1 << 20;
    call->on_end = [done = std::move(done), key = e.api_key](const HttpEnd& end) {
      if (!answered(end)) return done(tl::unexpected(without_key(failure(end), key)));
      boost::system::error_code bad;
      const auto v = boost::json::parse(end.body, bad);
      const auto* data = bad ? nullptr : member(v, "data");
      if (!data || !data->is_array())
        return done(fail(Code::kModelUnavailable, "the model server's list is malformed"));
      std::vector<std::string> names;
      for (const auto& m : data->get_array()) names.push_back(text_of(member(m, "id")));
      done(std::move(names));
    };
    loop_.start(std::move(call));
  }

  void when_ready(Resolve resolve, std::function<void(Result<SlmEndpoint>)> done) override {
    auto endpoint = resolve();
    if (endpoint || endpoint.error().code != Code::kModelUnavailable ||
        endpoint.error().retry_after_ms <= 0)
      return done(std::move(endpoint));
    wait_ready(std::move(resolve), std::move(done), kStartWaitMs);
  }

  void cancel(const std::string& call_id) override { loop_.cancel(call_id); }

 private:
  void wait_ready(Resolve resolve, std::function<void(Result<SlmEndpoint>)> done,
                  std::int64_t left_ms) {
    const bool accepted = loop_.after(kReadyPollMs, [this, resolve, done, left_ms](bool stopping) {
      if (stopping) return done(stopped());
      auto endpoint = resolve();
      if (endpoint || left_ms <= 0) return done(std::move(endpoint));
      wait_ready(resolve, done, left_ms - kReadyPollMs);
    });
    if (!accepted) done(stopped());
  }

  static tl::unexpected<Error> stopped() {
    return fail(Code::kUnavailable, "the node is stopping", kStopping);
  }

  HttpLoop loop_;
  std::shared_ptr<EmbedQueue> embeddings_;
};

}  // namespace

std::unique_ptr<SlmClient> SlmClient::create(ClientTls tls) {
  return std::make_unique<CurlClient>(std::move(tls));
}

}  // namespace soma::runtime
