// The handler's side of an event stream: a bounded buffer that the connection drains.
#pragma once

#include <functional>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "runtime/http/stream.h"

namespace soma::runtime::http {

// Thread-safe. `wake` is called (without the lock) when there is something new for the connection;
// it must be callable from any thread at any time.
class StreamBuffer final : public EventStream {
 public:
  // As server-sent events, or as the text messages of a WebSocket: {"event","id","data"}, where
  // data must be JSON; or as bytes.
  enum class Form : std::uint8_t { kEvents, kMessages, kBytes };
  explicit StreamBuffer(std::function<void()> wake, Form form = Form::kEvents)
      : form_(form), wake_(std::move(wake)) {}

  bool event(std::string_view id, std::string_view name, std::string_view data) override;
  bool raw(std::string_view data) override;
  bool comment(std::string_view text) override;
  void close() override;
  void abort() override;
  bool open() const override;
  std::size_t buffered() const override;
  void on_disconnect(std::function<void()> callback) override;
  void on_writable(std::function<void()> callback) override;

  // The connection's side, on its io thread.
  struct Batch {
    std::string data;
    std::vector<std::size_t> messages;  // kMessages: how data is cut
    bool finished = false;              // closed, and data is the last of it
    bool cut = false;                   // the client was too slow, or it was aborted
  };
  Batch take();  // the batch counts as buffered until written()
  void written();
  void gone();  // the client has left, or the server stops

 private:
  bool append(std::string text);

  const Form form_;
  mutable std::mutex mutex_;
  std::string pending_;
  std::vector<std::size_t> messages_;
  std::size_t in_flight_ = 0;
  bool woken_ = false;
  bool closed_ = false;
  bool cut_ = false;
  bool gone_ = false;
  std::function<void()> on_disconnect_;
  std::function<void()> on_writable_;
  std::function<void()> wake_;
};

}  // namespace soma::runtime::http
