// Responder and its way to the connection's thread.
#include "runtime/http/sink.h"

#include <boost/asio/post.hpp>

#include "runtime/http/guarded.h"

namespace soma::runtime::http {

void Responder::send(Response response) const { sink_->send(std::move(response)); }
std::shared_ptr<EventStream> Responder::stream(StreamHead head) const {
  return sink_->stream(std::move(head));
}
bool Responder::answered() const { return sink_->answered(); }

ConnectionSink::~ConnectionSink() {
  if (!answered_.load()) send(problem(Error{Code::kInternal, "the request was not answered", {}}));
}

void ConnectionSink::send(Response response) {
  if (answered_.exchange(true)) return;
  auto deliver = [connection = connection_, number = number_,
                  answer = std::move(response)]() mutable {
    const auto c = connection.lock();
    if (c && !guarded([&] { c->respond(number, std::move(answer)); })) c->close();
  };
  if (worker_->io.get_executor().running_in_this_thread()) return deliver();
  asio::post(worker_->io, std::move(deliver));
}

std::shared_ptr<EventStream> ConnectionSink::stream(StreamHead head) {
  if (answered_.exchange(true)) return nullptr;
  // Weak: the stream is the handler's, and may outlive the server.
  auto wake = [worker = std::weak_ptr<Worker>(worker_), connection = connection_,
               number = number_] {
    if (const auto w = worker.lock())
      asio::post(w->io, [connection, number] {
        const auto c = connection.lock();
        if (c && !guarded([&] { c->flush_stream(number); })) c->close();
      });
  };
  const auto form = head.content_type.empty() ? form_ : StreamBuffer::Form::kBytes;
  auto stream = std::make_shared<StreamBuffer>(std::move(wake), form);
  if (worker_->io.stopped()) {  // the server has ended: nobody runs what is posted
    stream->gone();
    return stream;
  }
  asio::post(worker_->io, [connection = connection_, number = number_, stream,
                           head = std::move(head)]() mutable {
    const auto c = connection.lock();
    if (c && guarded([&] { c->begin_stream(number, stream, std::move(head)); })) return;
    stream->gone();
    if (c) c->close();
  });
  return stream;
}

}  // namespace soma::runtime::http
