// The reading half of a connection: bytes to requests.
#include "runtime/http/connection.h"

#include <sys/socket.h>

#include <boost/asio/post.hpp>
#include <boost/asio/write.hpp>
#include <cerrno>
#include <charconv>

#include "runtime/http/guarded.h"
#include "runtime/http/sink.h"
#include "runtime/http/text.h"
#include "runtime/telemetry/log.h"

namespace soma::runtime::http {

namespace beast = boost::beast;
using boost::system::error_code;

namespace {
constexpr std::size_t kReadSize = 8 * 1024;  // bytes per read of a header
constexpr std::size_t kBodyReadSize = 64 * 1024;
constexpr std::size_t kSwallowBody = 64 * 1024;        // a refused body up to this is read, not cut
constexpr std::size_t kMinBytesPerSecond = 64 * 1024;  // slower peers run into the deadline
}  // namespace

Connection::Connection(Worker& worker, Channel channel)
    : worker_(worker),
      core_(*worker.core),
      channel_(std::move(channel)),
      buffer_(core_.options.header_limit + kBodyReadSize) {
  error_code error;
  channel_.socket().set_option(asio::ip::tcp::no_delay(true), error);
  const auto peer = channel_.socket().remote_endpoint(error);
  if (!error) remote_ = peer.address().to_string();
}

Policy Connection::policy() const { return {core_.options, core_.router, core_.auth}; }

void Connection::set_size_deadline(std::chrono::milliseconds wait, std::size_t bytes) {
  set_deadline(wait + std::chrono::milliseconds(bytes * 1000 / kMinBytesPerSecond));
}

void Connection::start() {
  set_deadline(core_.options.header_timeout);
  channel_.async_handshake([self = shared_from_this()](const error_code& error) {
    if (self->phase_ != Phase::kHandshake) return;
    if (error) return self->refuse_handshake(error);
    self->next_request();
  });
}

// The alert of TLS is sent; unread bytes of the client's must not reset it away.
void Connection::refuse_handshake(const error_code& error) {
  worker_.handshake_failed(channel_.why_refused(error));
  auto& socket = channel_.socket();
  error_code ignored;
  if (Channel::was_in_the_clear(error)) {  // who speaks no TLS understands no alert
    const std::string answer =
        last_words({Code::kMalformed, "this port speaks TLS: its URLs begin with https://", {}});
    socket.send(asio::buffer(answer), 0, ignored);
  }
  phase_ = Phase::kLinger;
  set_deadline(kLingerTime);
  socket.shutdown(asio::ip::tcp::socket::shutdown_send, ignored);
  discard();
}

void Connection::next_request() {
  ++number_;
  prepared_ = {};
  parser_.emplace();
  parser_->header_limit(static_cast<std::uint32_t>(core_.options.header_limit));
  parser_->body_limit(boost::none);  // the route's limit is checked when it is known
  parser_->eager(false);
  head_size_ = 0;
  status_ = 0;
  sent_ = 0;
  phase_ = Phase::kIdle;
  set_deadline(core_.options.idle_timeout);
  if (buffer_.size() > 0) return advance();
  if (core_.draining.load()) return close();
  read();
}

void Connection::read() {
  const std::size_t size = phase_ == Phase::kBody ? kBodyReadSize : kReadSize;
  channel_.async_read_some(buffer_.prepare(size),
                           [self = shared_from_this()](const error_code& error, std::size_t n) {
                             self->on_read(error, n);
                           });
}

void Connection::on_read(const error_code& error, std::size_t bytes) {
  if (phase_ != Phase::kIdle && phase_ != Phase::kHeader && phase_ != Phase::kBody) return;
  if (error) return close();
  buffer_.commit(bytes);
  advance();
}

void Connection::advance() {
  if (!guarded([this] { serve(); })) close();
}

void Connection::serve() {
  if (phase_ == Phase::kIdle) {
    phase_ = Phase::kHeader;
    started_ = Clock::now();
    set_deadline(core_.options.header_timeout);
  }
  if (phase_ == Phase::kHeader && !parse_header()) return;
  if (phase_ == Phase::kBody && !parse_body()) return;
  if (phase_ == Phase::kBody) dispatch();
}

// Beast's own limit is one of what it has not taken; of fields that it has there is none.
bool Connection::parse_header() {
  const std::size_t most = core_.options.header_limit;
  error_code error;
  const auto taken = parser_->put(asio::buffer(buffer_.data(), most - head_size_), error);
  buffer_.consume(taken);
  head_size_ += taken;
  if (error == beast::http::error::need_more) {
    if (head_size_ + buffer_.size() < most) {
      read();
      return false;
    }
    error = beast::http::error::header_limit;
  }
  if (error) {
    refuse_unreadable(error);
    return false;
  }
  on_header();
  return phase_ == Phase::kBody;
}

void Connection::on_header() {
  const auto& message = parser_->get();
  Head head;
  head.method = std::string(message.method_string());
  head.target = std::string(message.target());
  head.version = message.version();
  head.remote = remote_;
  for (const auto& field : message)
    head.headers.add(std::string(field.name_string()), std::string(field.value()));
  close_after_ = !parser_->keep_alive();
  prepared_ = prepare(policy(), std::move(head));
  phase_ = Phase::kBody;
  set_size_deadline(core_.options.body_timeout, parser_->content_length().value_or(0));
  if (prepared_.must_close) close_after_ = true;
  if (parser_->is_done()) return;
  if (prepared_.early) {
    const auto length = parser_->content_length();
    const bool small = length && *length <= kSwallowBody && !prepared_.must_close &&
                       prepared_.request->headers.count("Expect") == 0;
    if (!small) return refuse_and_close(std::move(*prepared_.early));
    prepared_.body_limit = kSwallowBody;
  }
  if (prepared_.expects_continue) send_continue();
}

void Connection::send_continue() {
  static constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
  phase_ = Phase::kContinue;
  asio::async_write(channel_, asio::buffer(kContinue.data(), kContinue.size()),
                    [self = shared_from_this()](const error_code& error, std::size_t) {
                      if (self->phase_ != Phase::kContinue) return;
                      if (error) return self->close();
                      self->phase_ = Phase::kBody;
                      self->advance();
                    });
}

// A step of the parser takes data as they come, or a chunk's line, or the last one with the
// trailer: these must be whole, and are bounded as the header is.
bool Connection::parse_body() {
  const std::size_t most = core_.options.header_limit;
  while (!parser_->is_done()) {
    if (buffer_.size() == 0) {
      read();
      return false;
    }
    error_code error;
    buffer_.consume(parser_->put(asio::buffer(buffer_.data(), most), error));
    if (parser_->get().body().size() > prepared_.body_limit) {
      refuse_and_close(problem(
          Error{Code::kTooLarge,
                "the body may have at most " + std::to_string(prepared_.body_limit) + " bytes",
                {}}));
      return false;
    }
    if (error == beast::http::error::need_more) {
      if (buffer_.size() < most) {
        read();
        return false;
      }
      error = beast::http::error::header_limit;
    }
    if (error) {
      refuse_unreadable(error);
      return false;
    }
  }
  return true;
}

bool Connection::hung_up() {
  char next = 0;
  const auto n = ::recv(channel_.socket().native_handle(), &next, 1, MSG_PEEK | MSG_DONTWAIT);
  // Before its answer a caller under TLS has one thing left to say: that it leaves.
  if (n > 0) return channel_.encrypted();
  return n == 0 || (errno != EAGAIN && errno != EWOULDBLOCK);
}

void Connection::dispatch() {
  if (core_.options.heeds_hang_ups && hung_up()) return close();
  phase_ = Phase::kHandling;
  if (prepared_.early) return write(std::move(*prepared_.early));
  if (auto refused = take_body(policy(), prepared_, std::move(parser_->get().body())))
    return write(std::move(*refused));
  const auto request = prepared_.request;
  const Route* route = prepared_.route;
  Responder responder(std::make_shared<ConnectionSink>(
      worker_.shared_from_this(), weak_from_this(), number_,
      route->websocket ? StreamBuffer::Form::kMessages : StreamBuffer::Form::kEvents));
  try {
    if (core_.options.gate)
      core_.options.gate(*route, request, responder);
    else
      route->handler(request, responder);
  } catch (const std::exception& e) {
    log_error(
        "handler_threw",
        {{"route", route->pattern}, {"reason", e.what()}, {"request_id", request->request_id}});
    responder.fail(Error{Code::kInternal, "the handler failed", {}});
  }
}

void Connection::refuse_unreadable(const error_code& error) {
  const auto answer = [&](Code code, const char* why) { return problem(Error{code, why, {}}); };
  if (error == beast::http::error::header_limit) {
    if (parser_->get().target().empty())  // still within the request line
      return refuse_and_close(problem_as(414, {Code::kMalformed, "the URL is too long", {}}));
    return refuse_and_close(
        answer(Code::kHeadersTooLarge, phase_ == Phase::kBody
                                           ? "a chunk's line or the trailer is too large"
                                           : "the header is too large"));
  }
  if (error == beast::http::error::bad_version)
    return refuse_and_close(
        problem_as(505, {Code::kMalformed, "only HTTP/1.0 and HTTP/1.1 are spoken here", {}}));
  refuse_and_close(answer(Code::kMalformed, "the request is not valid HTTP/1.1"));
}

void Connection::refuse_and_close(Response response) {
  close_after_ = true;
  phase_ = Phase::kHandling;
  write(std::move(response));
}

void Connection::check_deadline(Clock::time_point now) {
  if (phase_ == Phase::kStreaming && stream_) {
    if (!writing_ && now - last_write_ >= core_.options.stream_keepalive)
      stream_->comment("keep-alive");
    // Streams that follow for ever must not hold up the end; busy ones may finish.
    if (core_.draining.load() && now - last_event_ > std::chrono::seconds(1)) return close();
    if (!writing_) return;
  }
  if (phase_ == Phase::kHandling || phase_ == Phase::kUpgraded || now < deadline_) return;
  if (phase_ == Phase::kHandshake) worker_.handshake_failed("it took too long");
  if (phase_ == Phase::kHeader || phase_ == Phase::kBody)
    return refuse_and_close(problem_as(408, {Code::kMalformed, "the request came too slowly", {}}));
  close();
}

void Connection::drain() {
  if (phase_ == Phase::kUpgraded) return web_socket_->go_away();
  if (phase_ == Phase::kHandshake || phase_ == Phase::kIdle || phase_ == Phase::kLinger) close();
  close_after_ = true;
}

void Connection::close() {
  if (phase_ == Phase::kClosed) return;
  const auto self = shared_from_this();
  if (phase_ == Phase::kStreaming) worker_.finish(prepared_, status_, started_, sent_);
  if (phase_ == Phase::kUpgraded) worker_.finish(prepared_, status_, started_, web_socket_->sent());
  phase_ = Phase::kClosed;
  channel_.close();
  worker_.connections.erase(self);
  core_.connections.fetch_sub(1);
  core_.connection_gauge.add(-1);
  if (const auto socket = std::move(web_socket_)) socket->abort();
  if (const auto stream = std::move(stream_)) stream->gone();
}

}  // namespace soma::runtime::http
