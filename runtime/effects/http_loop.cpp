// libcurl's multi-socket interface under epoll: work per event, not per open request.
#include "runtime/effects/http_loop.h"

#include <curl/curl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <deque>
#include <exception>
#include <map>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <utility>

#include "schemas/base/thread_name.h"

namespace soma::runtime {

namespace {

constexpr long kMaxConnections = 1024;
constexpr std::size_t kMaxSpareHandles = 256;
constexpr std::int64_t kSweepMs = 50;    // how late an idle timeout or deadline may be noticed
constexpr std::int64_t kTailMs = 1'000;  // for the end of an answer that no longer matters

std::int64_t now_ms() {
  return std::chrono::steady_clock::now().time_since_epoch() / std::chrono::milliseconds(1);
}
std::int64_t unix_ms() {
  return std::chrono::system_clock::now().time_since_epoch() / std::chrono::milliseconds(1);
}
bool loopback(const std::string& url) {
  const auto at = url.find("://");
  const std::string_view host = std::string_view(url).substr(at == std::string::npos ? 0 : at + 3);
  return host.starts_with("127.") || host.starts_with("localhost") || host.starts_with("[::1]");
}

}  // namespace

struct HttpLoop::Impl {
  struct Transfer {
    Impl* loop = nullptr;
    std::unique_ptr<HttpCall> call;
    CURL* curl = nullptr;
    curl_slist* headers = nullptr;
    std::string body, content_type;
    long status = 0;
    std::int64_t began = 0, last_byte = 0;
    bool over = false, finished = false;  // over: on_end was called
    HttpEnd::Kind stop = HttpEnd::Kind::kBroken;
  };
  struct Lane {
    std::size_t active = 0;
    std::deque<std::unique_ptr<HttpCall>> waiting;
  };

  Impl(std::size_t max_waiting, ClientTls tls) : max_waiting_(max_waiting), tls_(std::move(tls)) {
    multi_ = curl_multi_init();
    epoll_ = ::epoll_create1(EPOLL_CLOEXEC);
    wake_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (!multi_ || epoll_ < 0 || wake_ < 0)
      std::abort();  // out of descriptors at start: nothing works
    watch(EPOLL_CTL_ADD, wake_, EPOLLIN);
    curl_multi_setopt(multi_, CURLMOPT_MAXCONNECTS, kMaxConnections);
    curl_multi_setopt(multi_, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(multi_, CURLMOPT_SOCKETDATA, this);
    curl_multi_setopt(multi_, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(multi_, CURLMOPT_TIMERDATA, this);
    thread_ = std::thread([this] { run(); });
  }
  ~Impl() {
    stop();
    for (CURL* c : spare_) curl_easy_cleanup(c);
    curl_multi_cleanup(multi_);
    ::close(wake_);
    ::close(epoll_);
  }

  void stop() {
    post([this] { stopping_ = true; });
    if (thread_.joinable()) thread_.join();
  }

  // False once the loop has ended.
  bool post(std::function<void()> what) {
    bool first;
    {
      std::lock_guard lock(mutex_);
      if (closed_) return false;
      first = inbox_.empty();
      inbox_.push_back(std::move(what));
    }
    if (first) {
      const std::uint64_t one = 1;
      [[maybe_unused]] auto n = ::write(wake_, &one, sizeof one);
    }
    return true;
  }

  void watch(int operation, int fd, std::uint32_t events) {
    epoll_event e{.events = events, .data = {.fd = fd}};
    ::epoll_ctl(epoll_, operation, fd, &e);
  }

  static int on_socket(CURL*, curl_socket_t fd, int what, void* self, void* known) {
    auto& l = *static_cast<Impl*>(self);
    if (what == CURL_POLL_REMOVE) {
      l.watch(EPOLL_CTL_DEL, fd, 0);
      return 0;
    }
    const std::uint32_t events =
        (what & CURL_POLL_IN ? EPOLLIN : 0u) | (what & CURL_POLL_OUT ? EPOLLOUT : 0u);
    l.watch(known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, events);
    if (!known) curl_multi_assign(l.multi_, fd, self);
    return 0;
  }
  static int on_timer(CURLM*, long ms, void* self) {
    static_cast<Impl*>(self)->curl_due_ = ms < 0 ? -1 : now_ms() + ms;
    return 0;
  }

  static std::size_t on_bytes(char* data, std::size_t size, std::size_t count, void* self) {
    auto& t = *static_cast<Transfer*>(self);
    const std::size_t n = size * count;
    if (t.status == 0) {
      curl_easy_getinfo(t.curl, CURLINFO_RESPONSE_CODE, &t.status);
      const char* type = nullptr;
      curl_easy_getinfo(t.curl, CURLINFO_CONTENT_TYPE, &type);
      if (type) t.content_type = type;
    }
    t.last_byte = now_ms();
    if (t.finished) return n;
    if (t.call->on_bytes && t.status == 200) {
      auto next = HttpCall::Next::kStop;
      try {
        next = t.call->on_bytes({data, n}, t.content_type);
      } catch (const std::exception&) {  // must not pass through libcurl; the answer counts as bad
      }
      if (next == HttpCall::Next::kStop) {
        t.stop = HttpEnd::Kind::kRefused;
        return 0;
      }
      if (next == HttpCall::Next::kFinished) {
        t.finished = true;
        t.loop->early_.push_back(t.curl);
      }
      return n;
    }
    if (t.body.size() + n > t.call->max_body) {
      if (t.status == 200) {
        t.stop = HttpEnd::Kind::kTooLong;
        return 0;
      }
      t.body.append(data, t.call->max_body - t.body.size());  // of an error the beginning is enough
      return n;
    }
    t.body.append(data, n);
    return n;
  }

  CURL* new_handle() {
    if (!spare_.empty()) {
      CURL* c = spare_.back();
      spare_.pop_back();
      return c;
    }
    CURL* c = curl_easy_init();
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_bytes);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    // Who ends a call that still asks for an address does not wait for the one who was asked.
    curl_easy_setopt(c, CURLOPT_QUICK_EXIT, 1L);
    curl_easy_setopt(c, CURLOPT_TCP_NODELAY, 1L);
    curl_easy_setopt(c, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
    use_tls(c, tls_);
    return c;
  }

  void begin(std::unique_ptr<HttpCall> call) {
    auto owned = std::make_unique<Transfer>();
    Transfer& t = *owned;
    t.loop = this;
    t.call = std::move(call);
    const HttpCall& c = *t.call;
    t.curl = new_handle();
    for (const auto& h : c.headers) t.headers = curl_slist_append(t.headers, h.c_str());
    t.headers = curl_slist_append(t.headers, "Expect:");
    curl_easy_setopt(t.curl, CURLOPT_URL, c.url.c_str());
    curl_easy_setopt(t.curl, CURLOPT_HTTPHEADER, t.headers);
    if (c.post) {
      curl_easy_setopt(t.curl, CURLOPT_POST, 1L);
      curl_easy_setopt(t.curl, CURLOPT_POSTFIELDS, c.body.data());
      curl_easy_setopt(t.curl, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(c.body.size()));
    } else {
      curl_easy_setopt(t.curl, CURLOPT_HTTPGET, 1L);
    }
    curl_easy_setopt(t.curl, CURLOPT_WRITEDATA, &t);
    curl_easy_setopt(t.curl, CURLOPT_PRIVATE, &t);
    // A proxy of the environment is for the outside world, never for our own children and peers.
    curl_easy_setopt(t.curl, CURLOPT_PROXY, c.direct || loopback(c.url) ? "" : nullptr);
    curl_easy_setopt(t.curl, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(c.connect_timeout_ms));
    curl_easy_setopt(t.curl, CURLOPT_TIMEOUT_MS, static_cast<long>(c.total_timeout_ms));
    t.began = t.last_byte = now_ms();
    ++lanes_[c.lane].active;
    CURL* handle = t.curl;
    running_[handle] = std::move(owned);
    curl_multi_add_handle(multi_, handle);
  }

  // Asks first, where there is somebody to ask; the lane's place is taken meanwhile.
  void admit(std::unique_ptr<HttpCall> call) {
    if (!call->before) return begin(std::move(call));
    ++lanes_[call->lane].active;
    const std::uint64_t ticket = ++last_ticket_;
    const auto before = std::move(call->before);
    call->before = nullptr;
    asking_[ticket] = {std::move(call), now_ms()};
    before([this, ticket](bool go) { post([this, ticket, go] { asked(ticket, go); }); });
  }

  void asked(std::uint64_t ticket, bool go) {
    const auto it = asking_.find(ticket);
    if (it == asking_.end()) return;  // cancelled, late, or stopped meanwhile
    auto call = std::move(it->second.call);
    asking_.erase(it);
    const std::string lane = call->lane;
    if (go && !stopping_) {
      begin(std::move(call));  // before its kept place is given back, so that nobody takes it
      --lanes_[lane].active;
      return;
    }
    end_unstarted(*call, stopping_ ? HttpEnd::Kind::kStopping : HttpEnd::Kind::kHeld);
    leave(lane);
  }

  // One of the lane is over: its next ones begin.
  void leave(const std::string& name) {
    auto lane = lanes_.find(name);
    if (lane == lanes_.end()) return;
    --lane->second.active;
    while (!lane->second.waiting.empty() && !stopping_ &&
           lane->second.active <
               std::max<std::size_t>(1, lane->second.waiting.front()->lane_limit)) {
      auto next = std::move(lane->second.waiting.front());
      lane->second.waiting.pop_front();
      admit(std::move(next));
    }
    if (lane->second.active == 0 && lane->second.waiting.empty()) lanes_.erase(lane);
  }

  void take(std::unique_ptr<HttpCall> call) {
    if (stopping_) return end_unstarted(*call, HttpEnd::Kind::kStopping);
    Lane& lane = lanes_[call->lane];
    if (lane.active < std::max<std::size_t>(1, call->lane_limit)) return admit(std::move(call));
    if (lane.waiting.size() >= max_waiting_)
      return end_unstarted(*call, HttpEnd::Kind::kOverloaded);
    lane.waiting.push_back(std::move(call));
  }

  static void end_unstarted(HttpCall& call, HttpEnd::Kind kind) {
    HttpEnd end;
    end.kind = kind;
    call.on_end(std::move(end));
  }

  void tell_end(Transfer& t, HttpEnd::Kind kind, std::string why = {}) {
    if (t.over) return;
    t.over = true;
    HttpEnd end;
    end.kind = kind;
    end.why = std::move(why);
    curl_easy_getinfo(t.curl, CURLINFO_RESPONSE_CODE, &end.status);
    curl_off_t seconds = 0;
    if (curl_easy_getinfo(t.curl, CURLINFO_RETRY_AFTER, &seconds) == CURLE_OK && seconds > 0)
      end.retry_after_ms = static_cast<std::int64_t>(std::min<curl_off_t>(seconds, 86'400)) * 1000;
    end.body = std::move(t.body);
    end.took_ms = now_ms() - t.began;
    long sent = 0;
    end.sent = curl_easy_getinfo(t.curl, CURLINFO_REQUEST_SIZE, &sent) == CURLE_OK && sent > 0;
    t.call->on_end(std::move(end));
  }

  // Takes the transfer out; its handle may serve again. Its lane's next one begins.
  void remove(CURL* curl, HttpEnd::Kind kind, std::string why = {}) {
    auto it = running_.find(curl);
    if (it == running_.end()) return;
    auto t = std::move(it->second);
    running_.erase(it);
    curl_multi_remove_handle(multi_, curl);
    tell_end(*t, kind, std::move(why));
    curl_slist_free_all(t->headers);
    if (spare_.size() < kMaxSpareHandles)
      spare_.push_back(curl);
    else
      curl_easy_cleanup(curl);
    leave(t->call->lane);
  }

  void cancel(const std::string& id) {
    if (id.empty()) return;
    std::vector<CURL*> found;
    for (auto& [curl, t] : running_)
      if (t->call->id == id && !t->over) found.push_back(curl);
    for (CURL* curl : found) remove(curl, HttpEnd::Kind::kCancelled);
    drop_waiting([&](const HttpCall& c) { return c.id == id; }, HttpEnd::Kind::kCancelled);
  }

  template <typename Which>
  void drop_waiting(Which which, HttpEnd::Kind kind) {
    std::vector<std::unique_ptr<HttpCall>> dropped;
    std::vector<std::string> places;  // of those that were being asked about
    for (auto& [name, lane] : lanes_) {
      for (auto& c : lane.waiting)
        if (which(*c)) dropped.push_back(std::move(c));
      std::erase_if(lane.waiting, [](const auto& c) { return !c; });
    }
    for (auto& [ticket, asking] : asking_)
      if (which(*asking.call)) {
        places.push_back(asking.call->lane);
        dropped.push_back(std::move(asking.call));
      }
    std::erase_if(asking_, [](const auto& a) { return !a.second.call; });
    for (auto& c : dropped) end_unstarted(*c, kind);
    for (const auto& lane : places) leave(lane);
  }

  // A handle may have been cancelled and used again since: then its transfer is not finished.
  void tell_early() {
    for (CURL* curl : early_)
      if (auto it = running_.find(curl); it != running_.end() && it->second->finished)
        tell_end(*it->second, HttpEnd::Kind::kComplete);
    early_.clear();
  }

  void finished_transfers() {
    int left = 0;
    while (CURLMsg* m = curl_multi_info_read(multi_, &left)) {
      if (m->msg != CURLMSG_DONE) continue;
      CURL* curl = m->easy_handle;
      const CURLcode code = m->data.result;
      auto it = running_.find(curl);
      if (it == running_.end()) continue;
      HttpEnd::Kind kind = HttpEnd::Kind::kBroken;
      if (code == CURLE_OK)
        kind = HttpEnd::Kind::kComplete;
      else if (code == CURLE_WRITE_ERROR)
        kind = it->second->stop;
      else if (code == CURLE_OPERATION_TIMEDOUT)
        kind = HttpEnd::Kind::kTimedOut;
      else if (code == CURLE_COULDNT_CONNECT || code == CURLE_COULDNT_RESOLVE_HOST ||
               code == CURLE_COULDNT_RESOLVE_PROXY || code == CURLE_SSL_CONNECT_ERROR ||
               code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_URL_MALFORMAT ||
               code == CURLE_UNSUPPORTED_PROTOCOL)
        kind = HttpEnd::Kind::kUnreachable;
      remove(curl, kind, curl_easy_strerror(code));
    }
  }

  // What libcurl does not watch: silence, deadlines, and answers whose end no longer matters.
  void sweep() {
    const std::int64_t now = now_ms();
    if (now < sweep_due_) return;
    sweep_due_ = now + kSweepMs;
    const std::int64_t today = unix_ms();
    std::vector<std::pair<CURL*, HttpEnd::Kind>> found;
    for (auto& [curl, t] : running_) {
      const HttpCall& c = *t->call;
      if (t->finished && now - t->last_byte > kTailMs)
        found.emplace_back(curl, HttpEnd::Kind::kComplete);
      else if (c.deadline_ms != 0 && today >= c.deadline_ms && !t->over)
        found.emplace_back(curl, HttpEnd::Kind::kDeadline);
      else if (now - t->last_byte > c.idle_timeout_ms)
        found.emplace_back(curl, HttpEnd::Kind::kTimedOut);
    }
    for (auto& [curl, kind] : found) remove(curl, kind, "silent for too long");
    drop_waiting([&](const HttpCall& c) { return c.deadline_ms != 0 && today >= c.deadline_ms; },
                 HttpEnd::Kind::kDeadline);
    std::vector<std::uint64_t> unsaid;
    for (const auto& [ticket, asking] : asking_)
      if (now - asking.since_ms >= HttpCall::kBeforeMs) unsaid.push_back(ticket);
    for (const auto ticket : unsaid) asked(ticket, false);
  }

  void run_timers() {
    const std::int64_t now = now_ms();
    while (!timers_.empty() && timers_.begin()->first <= now) {
      auto what = std::move(timers_.begin()->second);
      timers_.erase(timers_.begin());
      what(false);
    }
  }

  int poll_ms() const {
    const std::int64_t now = now_ms();
    std::int64_t due = now + 60'000;
    if (!running_.empty() || !asking_.empty()) due = std::min(due, std::max(sweep_due_, now + 1));
    if (curl_due_ >= 0) due = std::min(due, curl_due_);
    if (!timers_.empty()) due = std::min(due, timers_.begin()->first);
    return static_cast<int>(std::max<std::int64_t>(0, due - now));
  }

  void run() {
    name_thread("soma-model");
    std::vector<epoll_event> events(256);
    while (!stopping_) {
      const int n = ::epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), poll_ms());
      int active = 0;
      for (int i = 0; i < n; ++i) {
        if (events[i].data.fd == wake_) {
          std::uint64_t count;
          [[maybe_unused]] auto got = ::read(wake_, &count, sizeof count);
          continue;
        }
        const int mask = (events[i].events & EPOLLIN ? CURL_CSELECT_IN : 0) |
                         (events[i].events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
                         (events[i].events & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0);
        curl_multi_socket_action(multi_, events[i].data.fd, mask, &active);
      }
      std::vector<std::function<void()>> posted;
      {
        std::lock_guard lock(mutex_);
        posted.swap(inbox_);
      }
      for (auto& what : posted) what();
      if (curl_due_ >= 0 && curl_due_ <= now_ms()) {
        curl_due_ = -1;
        curl_multi_socket_action(multi_, CURL_SOCKET_TIMEOUT, 0, &active);
      }
      tell_early();
      finished_transfers();
      run_timers();
      sweep();
    }
    shut();
  }

  void shut() {
    std::vector<std::function<void()>> posted;
    {
      std::lock_guard lock(mutex_);
      closed_ = true;
      posted.swap(inbox_);
    }
    for (auto& what : posted) what();
    while (!running_.empty()) remove(running_.begin()->first, HttpEnd::Kind::kStopping);
    drop_waiting([](const HttpCall&) { return true; }, HttpEnd::Kind::kStopping);
    for (auto& [due, what] : std::exchange(timers_, {})) what(true);
  }

  const std::size_t max_waiting_;
  const ClientTls tls_;
  CURLM* multi_ = nullptr;
  int epoll_ = -1, wake_ = -1;
  std::int64_t curl_due_ = -1, sweep_due_ = 0;
  std::unordered_map<CURL*, std::unique_ptr<Transfer>> running_;
  std::map<std::string, Lane> lanes_;
  struct Asking {
    std::unique_ptr<HttpCall> call;
    std::int64_t since_ms = 0;
  };
  std::map<std::uint64_t, Asking> asking_;  // not begun: `before` was asked
  std::uint64_t last_ticket_ = 0;
  std::multimap<std::int64_t, std::function<void(bool)>> timers_;
  std::vector<CURL*> spare_, early_;
  bool stopping_ = false;  // loop's thread only

  std::mutex mutex_;
  bool closed_ = false;
  std::vector<std::function<void()>> inbox_;
  std::thread thread_;
};

HttpLoop::HttpLoop(std::size_t max_waiting_per_lane, ClientTls tls) {
  [[maybe_unused]] static const CURLcode before_any_thread = curl_global_init(CURL_GLOBAL_ALL);
  impl_ = std::make_unique<Impl>(max_waiting_per_lane, std::move(tls));
}
HttpLoop::~HttpLoop() = default;

void HttpLoop::start(std::unique_ptr<HttpCall> call) {
  auto shared = std::make_shared<std::unique_ptr<HttpCall>>(std::move(call));
  if (!impl_->post([this, shared] { impl_->take(std::move(*shared)); }))
    Impl::end_unstarted(**shared, HttpEnd::Kind::kStopping);
}
void HttpLoop::cancel(const std::string& id) {
  impl_->post([this, id] { impl_->cancel(id); });
}
bool HttpLoop::after(std::int64_t ms, std::function<void(bool)> what) {
  return impl_->post([this, ms, what = std::move(what)]() mutable {
    impl_->timers_.emplace(now_ms() + ms, std::move(what));
  });
}
void HttpLoop::stop() { impl_->stop(); }

}  // namespace soma::runtime
