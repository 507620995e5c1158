// The server's loop: requests in, planned steps out.
#include "tests/support/scripted_upstream.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json.hpp>
#include <cctype>
#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <thread>
#include <unordered_map>

#include "tests/support/upstream_answers.h"

namespace soma::test {

namespace {

constexpr std::size_t kMaxRequest = 8 << 20;

std::int64_t now_ms() {
  using namespace std::chrono;
  return duration_cast<milliseconds>(steady_clock::now().time_since_epoch()).count();
}

struct Connection {
  int fd = -1;
  std::uint64_t id = 0;
  std::string in, out;
  std::size_t sent = 0;
  bool want_write = false;
  bool busy = false;  // a plan is running; further requests wait
  Plan plan;
  std::size_t step = 0;
  int write_bytes = 0;
};

// The value of a header of a request's head, or nothing.
std::string header(std::string_view head, std::string_view name) {
  std::string lower(head);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  const auto at = lower.find("\r\n" + std::string(name) + ":");
  if (at == std::string::npos) return {};
  auto begin = at + 2 + name.size() + 1;
  while (begin < lower.size() && lower[begin] == ' ') ++begin;
  return std::string(head.substr(begin, lower.find("\r\n", begin) - begin));
}

class Server final : public ScriptedUpstream {
 public:
  Server(int listener, std::uint16_t port, Script script)
      : listener_(listener), port_(port), script_(std::move(script)) {
    epoll_ = ::epoll_create1(EPOLL_CLOEXEC);
    wake_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    watch(EPOLL_CTL_ADD, listener_, EPOLLIN);
    watch(EPOLL_CTL_ADD, wake_, EPOLLIN);
    thread_ = std::thread([this] { run(); });
  }
  ~Server() override {
    post([this] { stopping_ = true; });
    thread_.join();
    while (!connections_.empty()) close(connections_.begin()->second);
    ::close(listener_);
    ::close(wake_);
    ::close(epoll_);
  }

  std::uint16_t port() const override { return port_; }
  void set(Script script) override {
    std::lock_guard lock(mutex_);
    script_ = std::move(script);
  }
  void next(Behaviour b) override {
    std::lock_guard lock(mutex_);
    script_.next.push_back(std::move(b));
  }
  void otherwise(Behaviour b) override {
    std::lock_guard lock(mutex_);
    script_.otherwise = std::move(b);
  }
  Stats stats() const override {
    std::lock_guard lock(mutex_);
    return stats_;
  }
  std::vector<Seen> requests() const override {
    std::lock_guard lock(mutex_);
    return {seen_.begin(), seen_.end()};
  }
  void drop_connections() override {
    post([this] {
      while (!connections_.empty()) close(connections_.begin()->second);
    });
  }

 private:
  void post(std::function<void()> what) {
    {
      std::lock_guard lock(mutex_);
      inbox_.push_back(std::move(what));
    }
    const std::uint64_t one = 1;
    [[maybe_unused]] auto n = ::write(wake_, &one, sizeof one);
  }
  void watch(int operation, int fd, std::uint32_t events) {
    epoll_event e{};
    e.events = events;
    e.data.fd = fd;
    ::epoll_ctl(epoll_, operation, fd, &e);
  }

  void run() {
    std::vector<epoll_event> events(256);
    while (!stopping_) {
      const int wait = timers_.empty() ? 1000
                                       : static_cast<int>(std::clamp<std::int64_t>(
                                             timers_.begin()->first - now_ms(), 0, 1000));
      const int n = ::epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), wait);
      for (int i = 0; i < n; ++i) {
        const int fd = events[static_cast<std::size_t>(i)].data.fd;
        if (fd == wake_) {
          std::uint64_t count;
          [[maybe_unused]] auto got = ::read(wake_, &count, sizeof count);
        } else if (fd == listener_) {
          accept_all();
        } else if (auto it = connections_.find(fd); it != connections_.end()) {
          serve(it->second, events[static_cast<std::size_t>(i)].events);
        }
      }
      std::vector<std::function<void()>> posted;
      {
        std::lock_guard lock(mutex_);
        posted.swap(inbox_);
      }
      for (auto& what : posted) what();
      while (!timers_.empty() && timers_.begin()->first <= now_ms()) {
        const auto [fd, id] = timers_.begin()->second;
        timers_.erase(timers_.begin());
        if (auto it = connections_.find(fd); it != connections_.end() && it->second.id == id)
          play(it->second, true);
      }
    }
  }

  void accept_all() {
    for (;;) {
      const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd < 0) return;
      const int on = 1;
      ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      auto& c = connections_[fd];
      c.fd = fd;
      c.id = ++last_id_;
      watch(EPOLL_CTL_ADD, fd, EPOLLIN);
      std::lock_guard lock(mutex_);
      ++stats_.connections;
      ++stats_.open;
    }
  }

  void close(Connection& c) {
    const int fd = c.fd;
    ::close(fd);
    connections_.erase(fd);
    std::lock_guard lock(mutex_);
    --stats_.open;
  }

  void serve(Connection& c, std::uint32_t events) {
    if (events & (EPOLLERR | EPOLLHUP)) return close(c);
    if (events & EPOLLIN) {
      char buffer[65536];
      for (;;) {
        const auto n = ::recv(c.fd, buffer, sizeof buffer, 0);
        if (n == 0 || (n < 0 && errno != EAGAIN)) return close(c);
        if (n < 0) break;
        c.in.append(buffer, static_cast<std::size_t>(n));
        if (c.in.size() > kMaxRequest) return close(c);
        if (static_cast<std::size_t>(n) < sizeof buffer) break;
      }
    }
    if (events & EPOLLOUT && !flush(c)) return;
    take_requests(c);
  }

  void take_requests(Connection& c) {
    const int fd = c.fd;
    const std::uint64_t id = c.id;
    for (;;) {
      auto it = connections_.find(fd);
      if (it == connections_.end() || it->second.id != id || c.busy) return;
      const auto end = c.in.find("\r\n\r\n");
      if (end == std::string::npos) return;
      const std::string_view head(c.in.data(), end + 2);
      const std::string length_text = header(head, "content-length");
      const std::size_t length =
          length_text.empty() ? 0 : std::strtoul(length_text.c_str(), nullptr, 10);
      if (c.in.size() < end + 4 + length) return;
      Seen seen;
      const auto first = head.substr(0, head.find("\r\n"));
      seen.method = std::string(first.substr(0, first.find(' ')));
      const auto path = first.substr(std::min(first.size(), first.find(' ') + 1));
      seen.path = std::string(path.substr(0, path.find(' ')));
      seen.headers = std::string(head);
      seen.body = c.in.substr(end + 4, length);
      c.in.erase(0, end + 4 + length);
      answer(c, std::move(seen));
    }
  }

  void answer(Connection& c, Seen seen) {
    c.busy = true;
    c.step = 0;
    c.write_bytes = 0;
    c.plan = {};
    const bool chat = seen.path == "/v1/chat/completions", embed = seen.path == "/v1/embeddings";
    if (seen.method == "POST" && (chat || embed)) {
      Behaviour b;
      {
        std::lock_guard lock(mutex_);
        b = script_.next.empty() ? script_.otherwise : script_.take(asked_model(seen.body));
        ++(chat ? stats_.chats : stats_.embeddings);
        seen_.push_back(seen);
        if (seen_.size() > kKeptRequests) seen_.pop_front();
      }
      c.write_bytes = b.write_bytes;
      c.plan = chat ? chat_plan(b, seen.body) : embeddings_plan(b, seen.body);
    } else {
      c.plan.steps.push_back({0, other(seen)});
    }
    play(c, false);
  }

  std::string other(const Seen& seen) {
    namespace json = boost::json;
    if (seen.path == "/health") return plain_response(200, "{\"status\":\"ok\"}");
    if (seen.path == "/v1/models")
      return plain_response(200,
                            R"({"object":"list","data":[{"id":"scripted","object":"model"}]})");
    if (seen.path == "/control/script" && seen.method != "GET") {
      auto script = parse_script(seen.body);
      if (!script)
        return plain_response(422, json::serialize(json::object{{"detail", script.error().message},
                                                                {"field", script.error().field}}));
      set(std::move(*script));
      return plain_response(200, "{}");
    }
    std::lock_guard lock(mutex_);
    if (seen.path == "/control/stats")
      return plain_response(200, json::serialize(json::object{{"connections", stats_.connections},
                                                              {"open", stats_.open},
                                                              {"chats", stats_.chats},
                                                              {"embeddings", stats_.embeddings}}));
    if (seen.path == "/control/requests") {
      json::array list;
      for (const auto& s : seen_)
        list.push_back(
            {{"method", s.method}, {"path", s.path}, {"headers", s.headers}, {"body", s.body}});
      return plain_response(200, json::serialize(list));
    }
    return plain_response(404, "{}");
  }

  // Sends the steps that are due; `due`: the one that comes next has waited long enough.
  void play(Connection& c, bool due) {
    while (c.step < c.plan.steps.size()) {
      Step& s = c.plan.steps[c.step];
      if (s.after_ms > 0 && !due) {
        timers_.emplace(now_ms() + s.after_ms, std::pair{c.fd, c.id});
        return;
      }
      due = false;
      const std::size_t piece =
          c.write_bytes > 0 ? static_cast<std::size_t>(c.write_bytes) : s.bytes.size();
      for (std::size_t at = 0; at < s.bytes.size(); at += piece) {
        c.out.append(s.bytes, at, piece);
        if (!flush(c)) return;
      }
      ++c.step;
    }
    if (c.plan.end == Plan::End::kClose && c.sent == c.out.size()) return close(c);
    if (c.plan.end == Plan::End::kKeepAlive) c.busy = false;
  }

  // False when the connection is gone.
  bool flush(Connection& c) {
    while (c.sent < c.out.size()) {
      const auto n = ::send(c.fd, c.out.data() + c.sent, c.out.size() - c.sent, MSG_NOSIGNAL);
      if (n < 0 && errno == EAGAIN) break;
      if (n <= 0) {
        close(c);
        return false;
      }
      c.sent += static_cast<std::size_t>(n);
    }
    const bool rest = c.sent < c.out.size();
    if (!rest) {
      c.out.clear();
      c.sent = 0;
    }
    if (rest != c.want_write) {
      c.want_write = rest;
      watch(EPOLL_CTL_MOD, c.fd, EPOLLIN | (rest ? EPOLLOUT : 0u));
    }
    return true;
  }

  const int listener_;
  const std::uint16_t port_;
  int epoll_ = -1, wake_ = -1;
  bool stopping_ = false;
  std::uint64_t last_id_ = 0;
  std::unordered_map<int, Connection> connections_;
  std::multimap<std::int64_t, std::pair<int, std::uint64_t>> timers_;

  mutable std::mutex mutex_;
  Script script_;
  Stats stats_;
  std::deque<Seen> seen_;
  std::vector<std::function<void()>> inbox_;
  std::thread thread_;
};

}  // namespace

Result<std::unique_ptr<ScriptedUpstream>> ScriptedUpstream::start(std::uint16_t port,
                                                                  Script script) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  const int on = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_port = htons(port);
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof a;
  if (fd < 0 || ::bind(fd, reinterpret_cast<sockaddr*>(&a), sizeof a) != 0 ||
      ::listen(fd, 1024) != 0 || ::getsockname(fd, reinterpret_cast<sockaddr*>(&a), &size) != 0) {
    if (fd >= 0) ::close(fd);
    return fail(Code::kUnavailable, "cannot listen on port " + std::to_string(port));
  }
  return std::unique_ptr<ScriptedUpstream>(
      std::make_unique<Server>(fd, ntohs(a.sin_port), std::move(script)));
}

}  // namespace soma::test
