// One thread around a curl multi handle; connections are kept.
#include "runtime/effects/slm_client.h"

#include <curl/curl.h>

#include <atomic>
#include <boost/json.hpp>
#include <chrono>
#include <map>
#include <mutex>
#include <thread>

#include "runtime/effects/chat_stream.h"

namespace soma::runtime {

namespace {

constexpr long kMaxConnections = 256;
constexpr std::size_t kMaxErrorBody = 16 * 1024;

using SteadyClock = std::chrono::steady_clock;

struct Transfer {
  CURL* curl = nullptr;
  curl_slist* headers = nullptr;
  std::string id, body, url;
  long status = 0;
  std::string received;                  // embeddings, or an error's body
  std::size_t receive_limit = 0;
  std::unique_ptr<ChatStream> stream;
  SlmClient::OnAnswer on_answer;
  SlmClient::OnEmbeddings on_embeddings;
  std::size_t texts = 0;
  SteadyClock::time_point began = SteadyClock::now();
  ~Transfer() {
    curl_slist_free_all(headers);
    if (curl) curl_easy_cleanup(curl);
  }

  void fail_with(const Error& error) {
    if (on_answer) on_answer(tl::unexpected(error));
    if (on_embeddings) on_embeddings(tl::unexpected(error));
  }
};

std::size_t on_bytes(char* data, std::size_t size, std::size_t count, void* self) {
  auto& t = *static_cast<Transfer*>(self);
  const std::size_t n = size * count;
  curl_easy_getinfo(t.curl, CURLINFO_RESPONSE_CODE, &t.status);
  if (t.stream && t.status == 200) return t.stream->feed({data, n}) ? n : 0;
  const std::size_t limit = t.status == 200 ? t.receive_limit : kMaxErrorBody;
  t.received.append(data, std::min(n, limit - std::min(limit, t.received.size())));
  return n;
}

class CurlClient final : public SlmClient {
 public:
  CurlClient() : multi_(curl_multi_init()) {
    curl_multi_setopt(multi_, CURLMOPT_MAXCONNECTS, kMaxConnections);
    curl_multi_setopt(multi_, CURLMOPT_MAX_TOTAL_CONNECTIONS, kMaxConnections);
    thread_ = std::thread([this] { run(); });
  }
  ~CurlClient() override {
    stopping_ = true;
    curl_multi_wakeup(multi_);
    thread_.join();
    for (auto& [curl, t] : running_) {
      curl_multi_remove_handle(multi_, curl);
      t->fail_with({Code::kUnavailable, "the node is stopping", {}});
    }
    for (auto& t : queued_) t->fail_with({Code::kUnavailable, "the node is stopping", {}});
    running_.clear();
    queued_.clear();
    curl_multi_cleanup(multi_);
  }

  void chat(const SlmEndpoint& e, const v1::ModelRequest& request, const std::string& traceparent, OnToken on_token,
            OnAnswer on_answer) override {
    auto t = std::make_unique<Transfer>();
    t->id = request.call_id();
    t->url = e.base_url + "/chat/completions";
    t->body = chat_body(request, request.model().empty() ? e.model : request.model());
    t->stream = std::make_unique<ChatStream>(e, request, std::move(on_token));
    t->on_answer = std::move(on_answer);
    add_header(*t, "Idempotency-Key: " + request.call_id());
    if (!traceparent.empty()) add_header(*t, "traceparent: " + traceparent);
    enqueue(std::move(t), e);
  }

  void embed(const SlmEndpoint& e, const std::vector<std::string>& texts, OnEmbeddings done) override {
    auto t = std::make_unique<Transfer>();
    t->url = e.base_url + "/embeddings";
    boost::json::array input(texts.begin(), texts.end());
    t->body = boost::json::serialize(boost::json::object{{"model", e.model}, {"input", std::move(input)}});
    t->texts = texts.size();
    t->receive_limit = e.max_answer_bytes * 4;
    t->on_embeddings = std::move(done);
    enqueue(std::move(t), e);
  }

  void cancel(const std::string& call_id) override {
    {
      std::lock_guard lock(mutex_);
      cancelled_.push_back(call_id);
    }
    curl_multi_wakeup(multi_);
  }

 private:
  static void add_header(Transfer& t, const std::string& line) { t.headers = curl_slist_append(t.headers, line.c_str()); }

  void enqueue(std::unique_ptr<Transfer> t, const SlmEndpoint& e) {
    add_header(*t, "Content-Type: application/json");
    add_header(*t, "Expect:");
    if (!e.api_key.empty()) add_header(*t, "Authorization: Bearer " + e.api_key);
    t->curl = curl_easy_init();
    curl_easy_setopt(t->curl, CURLOPT_URL, t->url.c_str());
    curl_easy_setopt(t->curl, CURLOPT_HTTPHEADER, t->headers);
    curl_easy_setopt(t->curl, CURLOPT_POSTFIELDS, t->body.data());
    curl_easy_setopt(t->curl, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(t->body.size()));
    curl_easy_setopt(t->curl, CURLOPT_WRITEFUNCTION, on_bytes);
    curl_easy_setopt(t->curl, CURLOPT_WRITEDATA, t.get());
    curl_easy_setopt(t->curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(t->curl, CURLOPT_PROXY, "");
    curl_easy_setopt(t->curl, CURLOPT_CONNECTTIMEOUT_MS, e.connect_timeout_ms);
    curl_easy_setopt(t->curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(t->curl, CURLOPT_LOW_SPEED_TIME, e.idle_timeout_s);
    curl_easy_setopt(t->curl, CURLOPT_TIMEOUT, e.total_timeout_s);
    curl_easy_setopt(t->curl, CURLOPT_TCP_NODELAY, 1L);
    {
      std::lock_guard lock(mutex_);
      queued_.push_back(std::move(t));
    }
    curl_multi_wakeup(multi_);
  }

  void run() {
    while (!stopping_) {
      take_new();
      int active = 0;
      curl_multi_perform(multi_, &active);
      int left = 0;
      while (CURLMsg* m = curl_multi_info_read(multi_, &left))
        if (m->msg == CURLMSG_DONE) done(m->easy_handle, m->data.result);
      curl_multi_poll(multi_, nullptr, 0, 1000, nullptr);
    }
  }

  void take_new() {
    std::vector<std::unique_ptr<Transfer>> fresh;
    std::vector<std::string> cancelled;
    {
      std::lock_guard lock(mutex_);
      fresh.swap(queued_);
      cancelled.swap(cancelled_);
    }
    for (auto& t : fresh) {
      curl_multi_add_handle(multi_, t->curl);
      running_[t->curl] = std::move(t);
    }
    for (const auto& id : cancelled)
      for (auto it = running_.begin(); it != running_.end(); ++it) {
        if (it->second->id != id || id.empty()) continue;
        curl_multi_remove_handle(multi_, it->first);
        auto t = std::move(it->second);
        running_.erase(it);
        t->fail_with({Code::kCancelled, "the call was cancelled", {}});
        break;
      }
  }

  void done(CURL* curl, CURLcode result) {
    curl_multi_remove_handle(multi_, curl);
    auto it = running_.find(curl);
    auto t = std::move(it->second);
    running_.erase(it);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &t->status);
    const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(SteadyClock::now() - t->began).count();
    if (result == CURLE_OPERATION_TIMEDOUT)
      return t->fail_with({Code::kModelUnavailable, "the model server did not answer in time", {}});
    if (result != CURLE_OK && result != CURLE_WRITE_ERROR)
      return t->fail_with({Code::kModelUnavailable, std::string("the model server cannot be reached: ") + curl_easy_strerror(result), {}});
    if (t->status != 200) return t->fail_with(http_failure(t->status, t->received));
    if (t->on_answer) return t->on_answer(t->stream->finish(ms));
    t->on_embeddings(parse_embeddings(t->received, t->texts));
  }

  CURLM* multi_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Transfer>> queued_;
  std::vector<std::string> cancelled_;
  std::map<CURL*, std::unique_ptr<Transfer>> running_;
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

}  // namespace

std::unique_ptr<SlmClient> SlmClient::create() {
  static const CURLcode once = curl_global_init(CURL_GLOBAL_ALL);   // libcurl asks for it before any thread
  (void)once;
  return std::make_unique<CurlClient>();
}

}  // namespace soma::runtime
