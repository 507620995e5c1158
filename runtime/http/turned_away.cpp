// Connections that get one answer and an end: the answer, and the second after it.
#include "runtime/http/turned_away.h"

#include <array>
#include <boost/asio/write.hpp>

#include "runtime/http/exchange.h"

namespace soma::runtime::http {

namespace asio = boost::asio;
using boost::system::error_code;

struct TurnedAway::Lingering : std::enable_shared_from_this<Lingering> {
  Lingering(Channel c, std::string bytes) : channel(std::move(c)), answer(std::move(bytes)) {}
  void begin() {
    channel.async_handshake([self = shared_from_this()](const error_code& error) {
      if (!error) self->write();
    });
  }
  void write() {
    asio::async_write(channel, asio::buffer(answer),
                      [self = shared_from_this()](const error_code& error, std::size_t) {
                        if (!error) self->finish();
                      });
  }
  void finish() {
    channel.async_finish([self = shared_from_this()](const error_code&) { self->read(); });
  }
  void read() {
    channel.socket().async_read_some(
        asio::buffer(sink), [self = shared_from_this()](const error_code& error, std::size_t) {
          if (!error) self->read();
        });
  }
  Channel channel;
  const std::string answer;
  std::array<char, 1024> sink{};
};

void TurnedAway::add(Channel channel, const Error& why, std::chrono::steady_clock::time_point now) {
  if (channel.encrypted() && entries_.size() >= kMostUnderTls) return;
  if (entries_.size() >= kMost) close_oldest();
  auto lingering = std::make_shared<Lingering>(std::move(channel), last_words(why));
  entries_.push_back({now, lingering});
  lingering->begin();
}

void TurnedAway::close_oldest() {
  if (const auto lingering = entries_.front().socket.lock()) lingering->channel.close();
  entries_.pop_front();
}

void TurnedAway::close_old(std::chrono::steady_clock::time_point now) {
  while (!entries_.empty() && now - entries_.front().since >= kLinger) close_oldest();
}

void TurnedAway::close_all() {
  while (!entries_.empty()) close_oldest();
}

}  // namespace soma::runtime::http
