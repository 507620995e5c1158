// Handshake, messages out, messages in, close.
#include "runtime/http/web_socket.h"

#include <boost/asio/buffer.hpp>
#include <boost/beast/websocket/rfc6455.hpp>

namespace soma::runtime::http {

namespace websocket = boost::beast::websocket;
using boost::system::error_code;

namespace {
constexpr std::chrono::seconds kHandshakeTime{10};
constexpr std::chrono::seconds kIdleTime{30};  // a ping goes out at half of it
}  // namespace

void WebSocket::accept(const Request& request, Fields fields) {
  websocket::stream_base::timeout times{};
  times.handshake_timeout = kHandshakeTime;
  times.idle_timeout = kIdleTime;
  times.keep_alive_pings = true;
  socket_.set_option(times);
  socket_.set_option(websocket::stream_base::decorator(
      [fields = std::move(fields)](websocket::response_type& response) {
        for (const auto& [name, value] : fields) response.insert(name, value);
      }));
  socket_.read_message_max(kMaxMessage);
  socket_.text(true);
  socket_.async_accept(request, [self = shared_from_this()](const error_code& error) {
    if (error) return self->end();
    self->open_ = true;
    self->read();
    self->flush();
  });
}

void WebSocket::read() {
  socket_.async_read(buffer_, [self = shared_from_this()](const error_code& error, std::size_t) {
    if (error) return self->end();  // closed by the client, too big, timed out: answered by Beast
    self->buffer_.consume(self->buffer_.size());
    self->read();
  });
}

void WebSocket::flush() {
  if (!open_ || writing_ || closing_) return;
  batch_ = stream_->take();
  message_ = at_ = 0;
  if (batch_.cut)
    return close(websocket::close_code::try_again_later, "too slow; come back with last_event_id");
  write();
}

void WebSocket::write() {
  if (closing_) return;
  if (message_ == batch_.messages.size()) {
    if (batch_.finished) return close(websocket::close_code::normal, "");
    if (batch_.messages.empty()) return;
    batch_ = {};
    message_ = 0;
    stream_->written();  // may run the handler's callback, which may write or close
    return flush();
  }
  writing_ = true;
  const std::size_t size = batch_.messages[message_];
  socket_.async_write(boost::asio::buffer(batch_.data.data() + at_, size),
                      [self = shared_from_this(), size](const error_code& error, std::size_t n) {
                        self->writing_ = false;
                        self->sent_ += n;
                        if (error) return self->end();
                        ++self->message_;
                        self->at_ += size;
                        self->write();
                      });
}

void WebSocket::close(websocket::close_code code, const char* reason) {
  if (std::exchange(closing_, true)) return;
  socket_.async_close({code, reason},
                      [self = shared_from_this()](const error_code&) { self->end(); });
}

void WebSocket::go_away() {
  // Before the handshake is done there is nobody to say it to; while a message is being written
  // the close frame waits for it.
  if (!open_) return abort();
  close(websocket::close_code::going_away, "the server stops");
}

void WebSocket::abort() {
  socket_.next_layer().close();
  end();
}

void WebSocket::end() {
  open_ = false;
  closing_ = true;
  if (const auto ended = std::exchange(ended_, nullptr)) ended();
}

}  // namespace soma::runtime::http
