// One client connection; private to this room (Asio and Beast are included here).
#pragma once

#include <array>
#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>

#include "runtime/http/channel.h"
#include "runtime/http/exchange.h"
#include "runtime/http/stream_buffer.h"
#include "runtime/http/turned_away.h"
#include "runtime/http/web_socket.h"

namespace soma::runtime::http {

namespace asio = boost::asio;
using Clock = std::chrono::steady_clock;

class Connection;

// What all connections of a server share. Outlives its workers.
struct Core {
  ServerOptions options;
  const Router& router;
  AuthHook auth;
  std::atomic<bool> draining{false};
  std::atomic<std::size_t> connections{0};
  Gauge connection_gauge;
  Counter refused_connections, failed_handshakes;

  Core(ServerOptions o, const Router& r, AuthHook a)
      : options(std::move(o)), router(r), auth(std::move(a)) {}
};

// One io thread's world: its connections, clock tick and metric handles. Touched by that thread
// only, but for `io`, which takes posts from anywhere.
struct Worker : std::enable_shared_from_this<Worker> {
  std::shared_ptr<Core> core;
  asio::io_context io{1};
  asio::steady_timer timer{io};
  std::unordered_set<std::shared_ptr<Connection>> connections;
  TurnedAway turned_away;
  Clock::time_point now = Clock::now();  // of the last tick; timeouts need no better
  std::string date;
  struct RouteMetrics {
    Histogram seconds;
    std::unordered_map<int, Counter> by_status;
  };
  std::unordered_map<const Route*, RouteMetrics> metrics;
  // Access lines of refusals in the current second; and those that were not written.
  std::size_t refusals_logged = 0, handshakes_logged = 0, refusals_not_logged = 0;
  Clock::time_point refusals_since = now;

  explicit Worker(std::shared_ptr<Core> c) : core(std::move(c)) {}
  void tick();   // every kTick: deadlines, keep-alive comments, the Date field
  void drain();  // closes what is idle
  void close_all();
  void finish(const Prepared& prepared, int status, Clock::time_point started, std::size_t bytes);
  void handshake_failed(const std::string& why);

 private:
  bool logs(int status);
  bool logs_refusal(std::size_t& logged);
};
inline constexpr std::chrono::milliseconds kTick{100};
inline constexpr std::chrono::milliseconds kLingerTime{1000};
inline constexpr std::size_t kRefusalLines = 20;  // of a worker's log, each second

// Requests are read, handled and answered one at a time, in order; what a client sends ahead waits
// in the buffer. Lives on its worker's thread; the worker owns it until close().
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(Worker& worker, Channel channel);
  void start();
  void check_deadline(Clock::time_point now);  // each tick
  void drain();
  void close();  // at once; idempotent

  // From the responder, posted to this thread. `number` tells a late answer from the current one.
  void respond(std::uint64_t number, Response response);
  void begin_stream(std::uint64_t number, std::shared_ptr<StreamBuffer> stream, StreamHead head);
  void flush_stream(std::uint64_t number);

 private:
  enum class Phase {
    kHandshake,
    kIdle,
    kHeader,
    kContinue,  // the client is told to send its body
    kBody,
    kHandling,
    kWriting,
    kStreaming,
    kUpgraded,
    kLinger,
    kClosed
  };
  using Parser = boost::beast::http::request_parser<boost::beast::http::string_body>;

  void refuse_handshake(const boost::system::error_code& error);
  void next_request();
  void read();
  void on_read(const boost::system::error_code& error, std::size_t bytes);
  void advance();
  void serve();         // as far as what has come reaches
  bool parse_header();  // false: wait, or answered
  bool parse_body();
  void on_header();
  void send_continue();
  bool hung_up();  // the client waits for no answer
  void dispatch();
  void refuse_unreadable(const boost::system::error_code& error);
  void refuse_and_close(Response response);
  void write(Response response);
  void on_written(const boost::system::error_code& error);
  void write_stream(std::string text, bool last);
  void upgrade(std::shared_ptr<StreamBuffer> stream, const Response& response);
  void discard();  // reads and forgets: notices the end of the client
  void linger();
  void set_deadline(std::chrono::milliseconds wait) { deadline_ = Clock::now() + wait; }
  void set_size_deadline(std::chrono::milliseconds wait, std::size_t bytes);
  Policy policy() const;

  Worker& worker_;
  Core& core_;
  Channel channel_;
  std::string remote_;
  boost::beast::flat_buffer buffer_;  // less than header_limit is left in it when more is read
  std::optional<Parser> parser_;
  std::size_t head_size_ = 0;  // bytes of the head that the parser has taken
  Prepared prepared_;
  Phase phase_ = Phase::kHandshake;
  Clock::time_point deadline_{};
  Clock::time_point started_{};
  Clock::time_point last_write_{};
  Clock::time_point last_event_{};
  std::uint64_t number_ = 0;  // of the request on this connection
  bool close_after_ = false;
  bool writing_ = false;  // a stream write is under way
  bool chunked_ = false;
  int status_ = 0;
  std::size_t sent_ = 0;
  std::size_t discarded_ = 0;
  std::string out_;
  std::string body_;
  std::array<char, 1024> waste_;
  std::shared_ptr<StreamBuffer> stream_;
  std::shared_ptr<WebSocket> web_socket_;
};

}  // namespace soma::runtime::http
