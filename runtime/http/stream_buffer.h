// The handler's side of an event stream: a bounded buffer that the connection drains.
#pragma once

#include <functional>
#include <mutex>
#include <string>
#include <utility>

#include "runtime/http/stream.h"

namespace soma::runtime::http {

// Thread-safe. `wake` is called (without the lock) when there is something new for the connection;
// it must be callable from any thread at any time.
class StreamBuffer final : public EventStream {
 public:
  explicit StreamBuffer(std::function<void()> wake) : wake_(std::move(wake)) {}

  bool event(std::string_view id, std::string_view name, std::string_view data) override;
  bool raw(std::string_view data) override;
  bool comment(std::string_view text) override;
  void close() override;
  bool open() const override;
  std::size_t buffered() const override;
  void on_disconnect(std::function<void()> callback) override;
  void on_writable(std::function<void()> callback) override;

  // The connection's side, on its io thread.
  struct Batch {
    std::string data;
    bool finished = false;  // closed, and data is the last of it
    bool cut = false;       // the client was too slow
  };
  Batch take();  // the batch counts as buffered until written()
  void written();
  void gone();  // the client has left, or the server stops

 private:
  bool append(std::string text);

  mutable std::mutex mutex_;
  std::string pending_;
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
