// Sockets, epoll and just enough of HTTP/1.1 to read an answer.
#include "tools/bench/http_load.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <charconv>
#include <chrono>
#include <cstring>
#include <deque>

namespace soma::bench {

namespace {

using Clock = std::chrono::steady_clock;

// Reads one answer out of what has come so far.
class AnswerReader {
 public:
  enum class State : std::uint8_t { kMore, kDone, kBad };

  void reset() { *this = {}; }
  State feed(std::string& in, bool closed) {
    if (!head_ && !read_head(in)) return closed || bad_ ? State::kBad : State::kMore;
    if (chunked_) {
      while (!last_) {
        if (!read_chunk(in)) return closed || bad_ ? State::kBad : State::kMore;
      }
      return State::kDone;
    }
    if (length_ == std::string::npos) {
      body_ += in;
      in.clear();
      return closed ? State::kDone : State::kMore;
    }
    if (in.size() < length_) return closed ? State::kBad : State::kMore;
    body_.assign(in, 0, length_);
    in.erase(0, length_);
    return State::kDone;
  }
  HttpAnswer answer() const { return {status_, body_, retry_after_}; }
  bool close() const { return close_; }

 private:
  static bool has(std::string_view head, std::string_view text) {
    return head.find(text) != std::string_view::npos;
  }
  bool read_head(std::string& in) {
    const auto end = in.find("\r\n\r\n");
    if (end == std::string::npos) return false;
    std::string head = in.substr(0, end + 2);
    in.erase(0, end + 4);
    for (char& c : head)
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
    if (!head.starts_with("http/1.") || head.size() < 12) {
      bad_ = true;
      return false;
    }
    status_ = std::atoi(head.c_str() + 9);
    chunked_ = has(head, "transfer-encoding: chunked");
    close_ = has(head, "connection: close");
    retry_after_ = has(head, "\r\nretry-after:");
    length_ = std::string::npos;
    if (const auto at = head.find("\r\ncontent-length:"); at != std::string::npos)
      length_ = std::strtoul(head.c_str() + at + 17, nullptr, 10);
    if (status_ == 204 || status_ == 304) length_ = 0;
    head_ = true;
    return true;
  }
  bool read_chunk(std::string& in) {
    const auto end = in.find("\r\n");
    if (end == std::string::npos) return false;
    std::size_t size = 0;
    if (std::from_chars(in.data(), in.data() + end, size, 16).ec != std::errc()) {
      bad_ = true;
      return false;
    }
    if (in.size() < end + 2 + size + 2) return false;
    body_.append(in, end + 2, size);
    in.erase(0, end + 2 + size + 2);
    last_ = size == 0;
    return true;
  }

  std::string body_;
  std::size_t length_ = 0;
  int status_ = 0;
  bool head_ = false, chunked_ = false, close_ = false, last_ = false, bad_ = false;
  bool retry_after_ = false;
};

int connect_to(std::uint16_t port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_port = htons(port);
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(fd, reinterpret_cast<sockaddr*>(&a), sizeof a) != 0) {
    ::close(fd);
    return -1;
  }
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return fd;
}

bool send_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const auto n = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}

struct Client {
  int fd = -1;
  std::string in;
  AnswerReader reader;
  Clock::time_point began;
};

class Load {
 public:
  explicit Load(const HttpScript& s) : s_(s), clients_(s.clients) {
    epoll_ = ::epoll_create1(EPOLL_CLOEXEC);
  }
  ~Load() {
    for (auto& c : clients_)
      if (c.fd >= 0) ::close(c.fd);
    ::close(epoll_);
  }

  Result<LoadResult> run(const std::function<void()>& measuring) {
    for (std::size_t i = 0; i < clients_.size(); ++i) {
      if (!open_loop())
        begin(i);
      else if (connect(i))  // a connection that is waited for would hold up the others' times
        idle_.push_back(i);
      else
        return fail(Code::kUnavailable,
                    "only " + std::to_string(i) + " clients could connect: " + out_.first_error);
    }
    const auto start = Clock::now();
    const auto from = start + to_ticks(s_.warm_s), until = from + to_ticks(s_.seconds);
    std::vector<epoll_event> events(512);
    bool counting = false;
    for (auto now = start; now < until; now = Clock::now()) {
      if (!counting && now >= from) {
        counting = true;
        if (measuring) measuring();
        out_ = {};
        from_ = Clock::now();
      }
      if (open_loop()) begin_due(start, now);
      const int n = ::epoll_wait(epoll_, events.data(), static_cast<int>(events.size()),
                                 open_loop() ? 1 : 50);
      for (int i = 0; i < n; ++i) serve(events[static_cast<std::size_t>(i)].data.u64);
      if (n > 0 || open_loop()) continue;
      for (std::size_t i = 0; i < clients_.size(); ++i)
        if (clients_[i].fd < 0) begin(i);  // those that could not connect
    }
    out_.seconds = std::chrono::duration<double>(Clock::now() - from_).count();
    if (out_.latencies.count() == 0)
      return fail(
          Code::kUnavailable,
          "no operation succeeded" +
              (out_.first_error.empty() ? "" : "; the first failed with: " + out_.first_error));
    return std::move(out_);
  }

 private:
  static Clock::duration to_ticks(double s) {
    return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(s));
  }

  void error(std::string what) {
    ++out_.errors;
    if (out_.first_error.empty()) out_.first_error = std::move(what);
  }

  bool open_loop() const { return s_.rate > 0; }

  void begin(std::size_t i) {
    clients_[i].began = Clock::now();
    send(i, s_.begin(i));
  }

  // Everything whose time has come. The longest idle client goes first.
  void begin_due(Clock::time_point start, Clock::time_point now) {
    for (;; ++due_) {
      const auto time = start + to_ticks(static_cast<double>(due_) / s_.rate);
      if (time > now) return;
      if (idle_.empty()) {
        ++out_.unsent;
        continue;
      }
      const std::size_t i = idle_.front();
      idle_.pop_front();
      clients_[i].began = time;
      send(i, s_.begin(i));
      if (clients_[i].fd < 0) idle_.push_back(i);
    }
  }

  void done(std::size_t i) { open_loop() ? idle_.push_back(i) : begin(i); }

  void drop(Client& c) {
    if (c.fd >= 0) ::close(c.fd);
    c.fd = -1;
    c.in.clear();
  }

  bool connect(std::size_t i) {
    Client& c = clients_[i];
    c.fd = connect_to(s_.port);
    if (c.fd < 0) return error("connection refused"), false;
    epoll_event e{};
    e.events = EPOLLIN;
    e.data.u64 = i;
    ::epoll_ctl(epoll_, EPOLL_CTL_ADD, c.fd, &e);
    return true;
  }

  void send(std::size_t i, const std::string& bytes) {
    Client& c = clients_[i];
    c.reader.reset();
    if (c.fd < 0 && !connect(i)) return;
    if (!send_all(c.fd, bytes)) {
      drop(c);
      error("connection lost");
    }
  }

  void serve(std::size_t i) {
    Client& c = clients_[i];
    char buffer[65536];
    const auto n = ::recv(c.fd, buffer, sizeof buffer, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN) return;
    if (n > 0) c.in.append(buffer, static_cast<std::size_t>(n));
    const auto state = c.reader.feed(c.in, n <= 0);
    if (state == AnswerReader::State::kMore) return;
    if (state == AnswerReader::State::kBad) {
      drop(c);
      error("the connection ended before the answer did");
      return done(i);
    }
    if (n <= 0 || c.reader.close()) drop(c);
    const HttpAnswer answer = c.reader.answer();
    if (s_.next) {
      if (auto more = s_.next(i, answer)) return send(i, *more);
    }
    const auto took = static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - c.began).count());
    if (s_.good(answer))
      out_.latencies.add(took);
    else if (s_.refused && s_.refused(answer))
      out_.refusals.add(took);
    else
      error(std::to_string(answer.status) + " " + std::string(answer.body.substr(0, 300)));
    done(i);
  }

  const HttpScript& s_;
  int epoll_ = -1;
  std::vector<Client> clients_;
  std::deque<std::size_t> idle_;  // clients of an open loop
  std::uint64_t due_ = 0;         // operations whose time had come
  LoadResult out_;
  Clock::time_point from_ = Clock::now();
};

}  // namespace

Result<LoadResult> run_http(const HttpScript& script, const std::function<void()>& measuring) {
  Load load(script);
  return load.run(measuring);
}

Result<std::pair<int, std::string>> http_once(std::uint16_t port, const std::string& bytes) {
  const int fd = connect_to(port);
  if (fd < 0) return fail(Code::kUnavailable, "nothing listens on port " + std::to_string(port));
  AnswerReader reader;
  std::string in;
  bool ok = send_all(fd, bytes);
  while (ok) {
    char buffer[65536];
    const auto n = ::recv(fd, buffer, sizeof buffer, 0);
    if (n > 0) in.append(buffer, static_cast<std::size_t>(n));
    const auto state = reader.feed(in, n <= 0);
    if (state == AnswerReader::State::kMore) continue;
    ok = state == AnswerReader::State::kDone;
    break;
  }
  ::close(fd);
  if (!ok) return fail(Code::kUnavailable, "the connection ended before the answer did");
  return std::pair{reader.answer().status, std::string(reader.answer().body)};
}

std::string http_request(std::string_view method, std::string_view path, std::string_view body,
                         std::string_view headers) {
  std::string out;
  out.reserve(160 + body.size() + headers.size());
  out.append(method).append(" ").append(path).append(" HTTP/1.1\r\nHost: localhost\r\n");
  out.append(headers);
  if (!body.empty())
    out.append("Content-Type: application/json\r\nContent-Length: ")
        .append(std::to_string(body.size()))
        .append("\r\n");
  out.append("\r\n").append(body);
  return out;
}

}  // namespace soma::bench
