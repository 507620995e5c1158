// Writing a long stream of bytes at the pace of its client.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string_view>

#include "runtime/http/stream.h"

namespace soma::runtime::http {

// Blocks while the stream's buffer is half full, so that neither it nor the writer holds more,
// however slow the client; the server ends a connection that takes nothing. For one thread, which
// is none of the server's.
class PacedWriter {
 public:
  explicit PacedWriter(std::shared_ptr<EventStream> out);
  // False: the client has gone, or the stream was cut; nothing is to be written any more.
  bool write(std::string_view bytes);

 private:
  static constexpr std::size_t kPiece = EventStream::kMaxBuffered / 4;
  // Outlives the writer in the stream's callbacks.
  struct Turn {
    std::mutex mutex;
    std::condition_variable changed;
    bool writable = false, gone = false;
  };
  bool wait();

  const std::shared_ptr<EventStream> out_;
  const std::shared_ptr<Turn> turn_ = std::make_shared<Turn>();
};

}  // namespace soma::runtime::http
