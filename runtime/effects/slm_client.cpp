// Requests and answers of the model protocol, over one loop.
#include "runtime/effects/slm_client.h"

#include <boost/json.hpp>

#include "runtime/effects/chat_stream.h"
#include "runtime/effects/embeddings.h"
#include "runtime/effects/http_loop.h"
#include "runtime/effects/json_reading.h"

namespace soma::runtime {

namespace {

constexpr std::size_t kMaxEmbedBody = 16 << 20;
constexpr std::int64_t kReadyPollMs = 20;

// Why a request that got no proper answer failed.
Error failure(const HttpEnd& end) {
  using Kind = HttpEnd::Kind;
  switch (end.kind) {
    case Kind::kTimedOut:
      return {Code::kModelUnavailable, "the model server did not answer in time", {}, 0};
    case Kind::kDeadline:
      return {Code::kDeadlineExceeded, "the deadline passed before the model had answered", {}, 0};
    case Kind::kUnreachable:
      return {Code::kModelUnavailable, "the model server cannot be reached: " + end.why, {}, 0};
    case Kind::kBroken:
      return {Code::kModelUnavailable, "the model server broke off: " + end.why, {}, 0};
    case Kind::kTooLong:
      return {Code::kModelUnavailable, "the model server's answer is too long", {}, 0};
    case Kind::kOverloaded:
      return {Code::kOverloaded, "too many requests wait for the model server", {}, 0};
    case Kind::kCancelled:
      return {Code::kCancelled, "the call was cancelled", {}, 0};
    case Kind::kStopping:
      return {Code::kUnavailable, "the node is stopping", {}, 0};
    case Kind::kComplete:
    case Kind::kRefused:
      break;
  }
  Error e = http_failure(end.status, end.body);
  e.retry_after_ms = end.retry_after_ms;
  return e;
}

bool answered(const HttpEnd& end) {
  return end.kind == HttpEnd::Kind::kComplete && end.status == 200;
}

std::unique_ptr<HttpCall> new_call(const SlmEndpoint& e, const char* path) {
  auto call = std::make_unique<HttpCall>();
  call->lane = e.base_url;
  call->lane_limit = e.max_concurrent;
  call->url = e.base_url + path;
  call->connect_timeout_ms = e.connect_timeout_ms;
  call->idle_timeout_ms = e.idle_timeout_ms;
  call->total_timeout_ms = e.total_timeout_ms;
  call->headers.push_back("Content-Type: application/json");
  if (!e.api_key.empty()) call->headers.push_back("Authorization: Bearer " + e.api_key);
  return call;
}

// Header values come from ids and clients: nothing that could start another header.
std::string header_safe(std::string text) {
  std::erase_if(text, [](unsigned char c) { return c < 0x20 || c > 0x7e; });
  return text;
}

// All pieces of one embed call; touched by the loop's thread alone, after it was filled.
struct EmbedWork {
  std::vector<std::size_t> pieces_of;  // per text: how many pieces
  std::vector<v1::Embedding> pieces;
  std::size_t open = 0;  // requests under way
  std::uint64_t prompt_tokens = 0;
  bool over = false;
  SlmClient::OnEmbeddings done;

  void end_with(const Error& error) {
    if (std::exchange(over, true)) return;
    done(tl::unexpected(error));
  }
  void part(std::size_t first, const v1::EmbedResult& r) {
    for (int i = 0; i < r.embeddings_size(); ++i)
      pieces[first + static_cast<std::size_t>(i)] = r.embeddings(i);
    prompt_tokens += r.prompt_tokens();
    if (--open > 0 || over) return;
    v1::EmbedResult out;
    out.set_prompt_tokens(prompt_tokens);
    std::size_t at = 0;
    for (const std::size_t count : pieces_of) {
      auto mean = mean_of({pieces.begin() + static_cast<std::ptrdiff_t>(at),
                           pieces.begin() + static_cast<std::ptrdiff_t>(at + count)});
      if (!mean) return end_with(mean.error());
      *out.add_embeddings() = std::move(*mean);
      at += count;
    }
    over = true;
    done(std::move(out));
  }
};

class CurlClient final : public SlmClient {
 public:
  CurlClient() : loop_(kMaxQueued) {}

  void stop() override { loop_.stop(); }

  void chat(const SlmEndpoint& e, const v1::ModelRequest& request, const std::string& traceparent,
            OnToken on_token, OnAnswer on_answer) override {
    auto call = new_call(e, "/chat/completions");
    call->id = request.call_id();
    call->body = chat_body(request, request.model().empty() ? e.model : request.model());
    call->deadline_ms = request.deadline_ms();
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
    call->on_end = [stream, done = std::move(on_answer)](const HttpEnd& end) {
      if (answered(end) || end.kind == HttpEnd::Kind::kRefused)
        return done(stream->finish(end.took_ms));
      done(tl::unexpected(failure(end)));
    };
    loop_.start(std::move(call));
  }

  void embed(const SlmEndpoint& e, const std::vector<std::string>& texts,
             OnEmbeddings done) override {
    auto work = std::make_shared<EmbedWork>();
    std::vector<std::string> pieces;
    for (const auto& text : texts) {
      auto cut = cut_in_pieces(text, e.embed_piece_bytes);
      work->pieces_of.push_back(cut.size());
      std::move(cut.begin(), cut.end(), std::back_inserter(pieces));
    }
    if (texts.empty() || texts.size() > kMaxTexts) {
      const auto refuse = [done](bool) {
        done(fail(Code::kInvalidArgument, "1 to 256 texts can be embedded at once", "input"));
      };
      if (!loop_.after(0, refuse)) refuse(true);
      return;
    }
    const std::size_t batch = std::max<std::size_t>(1, e.embed_batch);
    work->pieces.resize(pieces.size());
    work->open = (pieces.size() + batch - 1) / batch;
    work->done = std::move(done);
    for (std::size_t first = 0; first < pieces.size(); first += batch) {
      const std::size_t last = std::min(first + batch, pieces.size());
      const std::vector<std::string> some(pieces.begin() + static_cast<std::ptrdiff_t>(first),
                                          pieces.begin() + static_cast<std::ptrdiff_t>(last));
      auto call = new_call(e, "/embeddings");
      call->body = embeddings_body(some, e.model);
      call->max_body = kMaxEmbedBody;
      call->on_end = [work, first, count = some.size(), model = e.model](const HttpEnd& end) {
        if (!answered(end)) return work->end_with(failure(end));
        auto parsed = parse_embeddings(end.body, count);
        if (!parsed) return work->end_with(parsed.error());
        for (auto& one :
             *parsed->mutable_embeddings())  // vectors of one model are compared by its name
          if (one.model().empty()) one.set_model(model);
        work->part(first, *parsed);
      };
      loop_.start(std::move(call));
    }
  }

  void models(const SlmEndpoint& e, OnModels done) override {
    auto call = new_call(e, "/models");
    call->post = false;
    call->max_body = 1 << 20;
    call->on_end = [done = std::move(done)](const HttpEnd& end) {
      if (!answered(end)) return done(tl::unexpected(failure(end)));
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
      auto endpoint = resolve();
      if (endpoint || stopping || left_ms <= 0) return done(std::move(endpoint));
      wait_ready(resolve, done, left_ms - kReadyPollMs);
    });
    if (!accepted) done(fail(Code::kUnavailable, "the node is stopping"));
  }

  HttpLoop loop_;
};

}  // namespace

std::unique_ptr<SlmClient> SlmClient::create() { return std::make_unique<CurlClient>(); }

}  // namespace soma::runtime
