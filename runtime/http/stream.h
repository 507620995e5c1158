// How a handler answers, once, or as a stream of events or bytes; all from any thread.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/http/request.h"

namespace soma::runtime::http {

// A server-sent event stream (chunked). Thread-safe. Bounded: when more than kMaxBuffered bytes
// wait for a slow client the stream is cut, and the client resumes with Last-Event-ID; so a write
// never blocks and never grows. A comment goes out after 15 s of silence.
class EventStream {
 public:
  static constexpr std::size_t kMaxBuffered = 1024 * 1024;
  virtual ~EventStream() = default;

  // False when the stream is closed, cut or gone; the caller then stops. Empty id or name: left
  // out. Line breaks in data make several data: lines; those in id or name are refused (false).
  virtual bool event(std::string_view id, std::string_view name, std::string_view data) = 0;
  // OpenAI style: "data: …" and a blank line. Of a stream of bytes: as they are.
  virtual bool raw(std::string_view data) = 0;
  virtual bool comment(std::string_view text) = 0;
  virtual void close() = 0;  // what was written is sent first; idempotent
  // Cuts it where it stands, so that the client can tell it from one that ended; idempotent.
  virtual void abort() = 0;
  virtual bool open() const = 0;
  virtual std::size_t buffered() const = 0;  // bytes not yet given to the socket

  // Called once, on an io thread, when the client has gone, the stream was cut or the server stops;
  // at once if that has happened already; not after close(). Must not block.
  virtual void on_disconnect(std::function<void()> callback) = 0;
  // Called once when at most half of kMaxBuffered waits; at once if so already. For long histories.
  virtual void on_writable(std::function<void()> callback) = 0;
};

// What goes out before a stream. `headers` are beside the server's own.
struct StreamHead {
  std::vector<std::pair<std::string, std::string>> headers{};
  std::string content_type{};  // of a stream of bytes, which takes no events; empty: events
};

// Copyable, thread-safe; completes exactly once, later calls do nothing. When the last copy is
// destroyed unanswered, the client gets 500.
class Responder {
 public:
  struct Sink;  // the server's side
  explicit Responder(std::shared_ptr<Sink> sink) : sink_(std::move(sink)) {}

  void send(Response response) const;
  void fail(const Error& error) const { send(problem(error)); }
  // Begins a 200; null when already answered or the client has gone.
  std::shared_ptr<EventStream> stream(StreamHead head = {}) const;
  bool answered() const;

 private:
  std::shared_ptr<Sink> sink_;
};

struct Responder::Sink {
  virtual ~Sink() = default;
  virtual void send(Response response) = 0;
  virtual std::shared_ptr<EventStream> stream(StreamHead head) = 0;
  virtual bool answered() const = 0;
};

// Runs on an io thread: must not block. Exceptions are caught and answer 500.
using Handler = std::function<void(std::shared_ptr<Request>, Responder)>;

}  // namespace soma::runtime::http
