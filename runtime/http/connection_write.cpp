// The writing half of a connection: answers, event streams, and the end.
#include <boost/asio/write.hpp>
#include <charconv>

#include "runtime/http/connection.h"

namespace soma::runtime::http {

using boost::system::error_code;

namespace {
constexpr std::size_t kJoinBody = 16 * 1024;  // bodies up to this are copied behind the head
constexpr std::size_t kMaxDiscard = 4 * 1024 * 1024;  // bytes read from a client that should stop
}  // namespace

void Connection::respond(std::uint64_t number, Response response) {
  if (number == number_ && phase_ == Phase::kHandling) write(std::move(response));
}

void Connection::write(Response response) {
  const bool readable = prepared_.request != nullptr;
  if (core_.draining.load()) close_after_ = true;
  status_ = response.status;
  out_ = response_head(response, {readable ? prepared_.request.get() : nullptr, &core_.options,
                                  close_after_, false, worker_.date});
  body_.clear();
  if (!prepared_.head_only && response.status != 204 && response.status != 304) {
    if (response.body.size() <= kJoinBody)
      out_ += response.body;
    else
      body_ = std::move(response.body);
  }
  sent_ = out_.size() + body_.size();
  phase_ = Phase::kWriting;
  set_size_deadline(core_.options.write_timeout, sent_);
  const auto done = [self = shared_from_this()](const error_code& error, std::size_t) {
    self->on_written(error);
  };
  if (body_.empty()) return asio::async_write(channel_, asio::buffer(out_), done);
  const std::array<asio::const_buffer, 2> parts = {asio::buffer(out_), asio::buffer(body_)};
  asio::async_write(channel_, parts, done);
}

void Connection::on_written(const error_code& error) {
  if (phase_ != Phase::kWriting) return;
  worker_.finish(prepared_, status_, started_, sent_);
  if (error) return close();
  if (close_after_) return linger();
  next_request();
}

void Connection::begin_stream(std::uint64_t number, std::shared_ptr<StreamBuffer> stream,
                              StreamHead head) {
  if (number != number_ || phase_ != Phase::kHandling) return stream->gone();
  Response response;
  response.content_type =
      head.content_type.empty() ? "text/event-stream" : std::move(head.content_type);
  response.headers = std::move(head.headers);
  if (prepared_.route->websocket) return upgrade(std::move(stream), response);
  response.header("Cache-Control", "no-cache").header("X-Accel-Buffering", "no");
  // A stream ends with its connection: there is nothing a client could rightly send after it.
  close_after_ = true;
  if (prepared_.head_only) {
    stream->gone();
    return write(std::move(response));
  }
  chunked_ = parser_->get().version() >= 11;
  status_ = 200;
  phase_ = Phase::kStreaming;
  stream_ = std::move(stream);
  last_event_ = last_write_ = Clock::now();
  discarded_ = 0;
  discard();
  out_ = response_head(response,
                       {prepared_.request.get(), &core_.options, true, chunked_, worker_.date});
  writing_ = true;
  write_stream(std::string(), false);
}

// The channel is the WebSocket's from here on; this connection only keeps it and counts as open.
void Connection::upgrade(std::shared_ptr<StreamBuffer> stream, const Response& response) {
  stream_ = stream;
  status_ = 101;
  phase_ = Phase::kUpgraded;
  web_socket_ = std::make_shared<WebSocket>(std::move(channel_), std::move(stream),
                                            [weak = weak_from_this()] {
                                              if (const auto self = weak.lock()) self->close();
                                            });
  auto fields = response.headers;
  fields.emplace_back("X-Request-ID", prepared_.request->request_id);
  web_socket_->accept(parser_->get(), std::move(fields));
}

void Connection::flush_stream(std::uint64_t number) {
  if (number == number_ && phase_ == Phase::kUpgraded) return web_socket_->flush();
  if (number != number_ || phase_ != Phase::kStreaming || writing_) return;
  auto batch = stream_->take();
  if (batch.cut) return close();
  if (batch.data.empty() && !batch.finished) return;
  writing_ = true;
  out_.clear();
  last_event_ = Clock::now();
  write_stream(std::move(batch.data), batch.finished);
}

// Appends `text` as a chunk to out_ and writes it all.
void Connection::write_stream(std::string text, bool last) {
  if (!text.empty()) {
    if (chunked_) {
      char size[20];
      const auto end = std::to_chars(size, size + sizeof size, text.size(), 16);
      out_.append(size, end.ptr).append("\r\n").append(text).append("\r\n");
    } else {
      out_ += text;
    }
  }
  if (last && chunked_) out_ += "0\r\n\r\n";
  sent_ += out_.size();
  set_size_deadline(core_.options.write_timeout, out_.size());
  asio::async_write(
      channel_, asio::buffer(out_),
      [self = shared_from_this(), last](const error_code& error, std::size_t) {
        if (self->phase_ != Phase::kStreaming) return;
        self->writing_ = false;
        self->last_write_ = Clock::now();
        if (error) return self->close();
        if (last) {
          self->worker_.finish(self->prepared_, self->status_, self->started_, self->sent_);
          self->stream_.reset();
          return self->linger();
        }
        const auto stream = self->stream_;
        stream->written();  // may run the handler's callback, which may write or close
        self->flush_stream(self->number_);
      });
}

// Ends our side and waits for the client's: closing with unread bytes would reset the connection
// and could take the answer with it.
void Connection::linger() {
  const bool reading = phase_ == Phase::kStreaming;  // a discard is under way already
  phase_ = Phase::kLinger;
  set_deadline(kLingerTime);
  discarded_ = 0;
  channel_.async_finish([self = shared_from_this(), reading](const error_code& error) {
    if (self->phase_ != Phase::kLinger) return;
    // Under TLS the client has said that it leaves, or is still sending.
    if (self->channel_.encrypted() ? !error : error.failed()) return self->close();
    if (!reading) self->discard();
  });
}

void Connection::discard() {
  const auto forget = [self = shared_from_this()](const error_code& error, std::size_t n) {
    if (self->phase_ != Phase::kStreaming && self->phase_ != Phase::kLinger) return;
    self->discarded_ += n;
    if (error || self->discarded_ > kMaxDiscard) return self->close();
    self->discard();
  };
  if (phase_ == Phase::kLinger)
    return channel_.socket().async_read_some(asio::buffer(waste_), forget);
  channel_.async_read_some(asio::buffer(waste_), forget);
}

}  // namespace soma::runtime::http
