// The server's side of one WebSocket (RFC 6455); private to this room.
#pragma once

#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/websocket/stream.hpp>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "runtime/http/channel.h"
#include "runtime/http/stream_buffer.h"

namespace soma::runtime::http {

// Sends what the handler writes, one text message per event; what the client says is read, bounded
// and dropped. Pings a silent peer every 15 s and ends a dead one after 30 s. Close codes: 1000 the
// stream has ended, 1001 the server stops, 1009 a message was too big, 1013 the client was too slow
// (it comes back with last_event_id). Lives on its connection's io thread; owned by the connection.
class WebSocket : public std::enable_shared_from_this<WebSocket> {
 public:
  static constexpr std::size_t kMaxMessage = 64 * 1024;  // bytes from a client
  using Request = boost::beast::http::request<boost::beast::http::string_body>;
  using Fields = std::vector<std::pair<std::string, std::string>>;

  WebSocket(Channel channel, std::shared_ptr<StreamBuffer> stream, std::function<void()> ended)
      : socket_(std::move(channel)), stream_(std::move(stream)), ended_(std::move(ended)) {}

  void accept(const Request& request, Fields fields);  // answers 101 with these fields
  void flush();                                        // the stream has something new
  void go_away();                                      // 1001
  void abort();                                        // at once, no close frame
  std::size_t sent() const { return sent_; }

 private:
  void read();
  void write();
  void close(boost::beast::websocket::close_code code, const char* reason);
  void end();

  boost::beast::websocket::stream<Channel> socket_;
  const std::shared_ptr<StreamBuffer> stream_;
  std::function<void()> ended_;
  boost::beast::flat_buffer buffer_{kMaxMessage + 16};
  StreamBuffer::Batch batch_;
  std::size_t message_ = 0;  // next of the batch
  std::size_t at_ = 0;       // its first byte
  std::size_t sent_ = 0;
  bool open_ = false;
  bool writing_ = false;
  bool closing_ = false;
};

}  // namespace soma::runtime::http
