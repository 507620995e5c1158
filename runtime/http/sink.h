// The server's side of a Responder: carries an answer from any thread to its connection.
#pragma once

#include <atomic>
#include <memory>

#include "runtime/http/connection.h"

namespace soma::runtime::http {

// Keeps the worker (for posting to it) but not the connection alive. Posted work holds only weak
// references, so that work left in a stopped io_context owns nothing.
class ConnectionSink final : public Responder::Sink {
 public:
  ConnectionSink(std::shared_ptr<Worker> worker, std::weak_ptr<Connection> connection,
                 std::uint64_t number, StreamBuffer::Form form)
      : worker_(std::move(worker)),
        connection_(std::move(connection)),
        number_(number),
        form_(form) {}
  ~ConnectionSink() override;

  void send(Response response) override;
  std::shared_ptr<EventStream> stream(StreamHead head) override;
  bool answered() const override { return answered_.load(); }

 private:
  std::shared_ptr<Worker> worker_;
  std::weak_ptr<Connection> connection_;
  std::uint64_t number_;
  StreamBuffer::Form form_;
  std::atomic<bool> answered_{false};
};

}  // namespace soma::runtime::http
