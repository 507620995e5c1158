// Connections that get one answer and an end: the answer, and the second after it.
#include "runtime/http/turned_away.h"

#include <array>
#include <boost/asio/buffer.hpp>

#include "runtime/http/exchange.h"

namespace soma::runtime::http {

namespace asio = boost::asio;
using boost::system::error_code;

struct TurnedAway::Lingering : std::enable_shared_from_this<Lingering> {
  explicit Lingering(asio::ip::tcp::socket s) : socket(std::move(s)) {}
  void read() {
    socket.async_read_some(asio::buffer(sink),
                           [self = shared_from_this()](const error_code& error, std::size_t) {
                             if (!error) self->read();
                           });
  }
  asio::ip::tcp::socket socket;
  std::array<char, 1024> sink{};
};

void TurnedAway::add(asio::ip::tcp::socket socket, const Error& why,
                     std::chrono::steady_clock::time_point now) {
  Response answer = problem(why);
  HeadFacts facts;
  facts.close = true;
  const std::string bytes = response_head(answer, facts) + answer.body;
  error_code error;
  socket.non_blocking(true, error);
  socket.send(asio::buffer(bytes), 0, error);
  if (error) return;
  socket.shutdown(asio::ip::tcp::socket::shutdown_send, error);
  if (entries_.size() >= kMost) close_oldest();
  auto lingering = std::make_shared<Lingering>(std::move(socket));
  entries_.push_back({now, lingering});
  lingering->read();
}

void TurnedAway::close_oldest() {
  error_code error;
  if (const auto lingering = entries_.front().socket.lock()) lingering->socket.close(error);
  entries_.pop_front();
}

void TurnedAway::close_old(std::chrono::steady_clock::time_point now) {
  while (!entries_.empty() && now - entries_.front().since >= kLinger) close_oldest();
}

void TurnedAway::close_all() {
  while (!entries_.empty()) close_oldest();
}

}  // namespace soma::runtime::http
