// Connections that get one answer and an end, whatever they ask.
#pragma once

#include <chrono>
#include <deque>
#include <memory>
#include <string_view>

#include "runtime/http/channel.h"
#include "schemas/base/errors.h"

namespace soma::runtime::http {

// Of one io thread. A socket that is closed while its request comes in, or lies unread, is reset,
// and the client may never see the answer; so the sockets linger, read and forgotten, until their
// clients close, a second has passed, or kMost others have come.
class TurnedAway {
 public:
  static constexpr std::size_t kMost = 256;
  static constexpr std::size_t kMostUnderTls =
      32;  // beyond: closed, as a handshake costs a millisecond
  static constexpr std::chrono::seconds kLinger{1};

  // `why` is the answer: a problem and `Connection: close`.
  void add(Channel channel, const Error& why, std::chrono::steady_clock::time_point now);
  void close_old(std::chrono::steady_clock::time_point now);  // each tick
  void close_all();

 private:
  struct Lingering;
  struct Entry {
    std::chrono::steady_clock::time_point since;
    std::weak_ptr<Lingering> socket;  // gone when its client has closed
  };
  void close_oldest();
  std::deque<Entry> entries_;
};

}  // namespace soma::runtime::http
