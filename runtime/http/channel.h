// A client's bytes, in the clear or within TLS; private to this room.
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/beast/websocket/ssl.hpp>
#include <boost/beast/websocket/teardown.hpp>
#include <memory>
#include <string>
#include <utility>
#include <variant>

namespace soma::runtime::http {

// An AsyncStream of Asio, also for Beast's WebSockets. Not to be used after it was moved from, but
// for close().
class Channel {
 public:
  using Socket = boost::asio::ip::tcp::socket;
  using Tls = boost::asio::ssl::stream<Socket>;
  using executor_type = Socket::executor_type;

  // `context` null: in the clear.
  Channel(Socket socket, std::shared_ptr<boost::asio::ssl::context> context)
      : context_(std::move(context)), stream_(std::move(socket)) {
    if (context_ == nullptr) return;
    Socket plain = std::move(std::get<Socket>(stream_));
    stream_ = std::make_unique<Tls>(std::move(plain), *context_);
  }

  bool encrypted() const { return tls() != nullptr; }
  Socket& socket() { return tls() != nullptr ? tls()->next_layer() : std::get<Socket>(stream_); }
  Tls* tls() const {
    const auto* stream = std::get_if<std::unique_ptr<Tls>>(&stream_);
    return stream != nullptr ? stream->get() : nullptr;
  }
  executor_type get_executor() { return socket().get_executor(); }

  template <typename Buffers, typename Handler>
  void async_read_some(const Buffers& buffers, Handler&& handler) {
    if (tls() != nullptr) return tls()->async_read_some(buffers, std::forward<Handler>(handler));
    socket().async_read_some(buffers, std::forward<Handler>(handler));
  }
  template <typename Buffers, typename Handler>
  void async_write_some(const Buffers& buffers, Handler&& handler) {
    if (tls() != nullptr) return tls()->async_write_some(buffers, std::forward<Handler>(handler));
    socket().async_write_some(buffers, std::forward<Handler>(handler));
  }
  // In the clear there is nothing to agree on: done at once.
  template <typename Handler>
  void async_handshake(Handler&& handler) {
    if (tls() == nullptr) return handler(boost::system::error_code());
    tls()->async_handshake(Tls::server, std::forward<Handler>(handler));
  }
  // Says that no more will be sent. Under TLS it then waits for the client to say so too; a client
  // that goes on sending makes it end with an error, and may be read from socket().
  template <typename Handler>
  void async_finish(Handler&& handler) {
    if (tls() != nullptr) return tls()->async_shutdown(std::forward<Handler>(handler));
    boost::system::error_code error;
    socket().shutdown(Socket::shutdown_send, error);
    handler(error);
  }
  // Of a handshake that failed: in words; and whether the client began with plain HTTP.
  std::string why_refused(const boost::system::error_code& error) const;
  static bool was_in_the_clear(const boost::system::error_code& error);
  void close() {
    boost::system::error_code error;
    if (tls() != nullptr || std::holds_alternative<Socket>(stream_)) socket().close(error);
  }

 private:
  std::shared_ptr<boost::asio::ssl::context> context_;
  std::variant<Socket, std::unique_ptr<Tls>> stream_;
};

// What Beast asks of the stream below a WebSocket.
inline void beast_close_socket(Channel& channel) { channel.close(); }
inline void teardown(boost::beast::role_type, Channel& channel, boost::system::error_code& error) {
  error = {};
  channel.close();
}
template <typename Handler>
void async_teardown(boost::beast::role_type role, Channel& channel, Handler&& handler) {
  using boost::beast::async_teardown;
  using boost::beast::websocket::async_teardown;
  if (channel.tls() != nullptr)
    return async_teardown(role, *channel.tls(), std::forward<Handler>(handler));
  async_teardown(role, channel.socket(), std::forward<Handler>(handler));
}

}  // namespace soma::runtime::http
