// Responder and its way to the connection's thread.
#include "runtime/http/sink.h"

#include <boost/asio/post.hpp>

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
  if (worker_->io.get_executor().running_in_this_thread()) {
    if (const auto connection = connection_.lock())
      connection->respond(number_, std::move(response));
    return;
  }
  asio::post(worker_->io,
             [connection = connection_, number = number_, answer = std::move(response)]() mutable {
               if (const auto c = connection.lock()) c->respond(number, std::move(answer));
             });
}

std::shared_ptr<EventStream> ConnectionSink::stream(StreamHead head) {
  if (answered_.exchange(true)) return nullptr;
  // Weak: the stream is the handler's, and may outlive the server.
  auto wake = [worker = std::weak_ptr<Worker>(worker_), connection = connection_,
               number = number_] {
    if (const auto w = worker.lock())
      asio::post(w->io, [connection, number] {
        if (const auto c = connection.lock()) c->flush_stream(number);
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
    if (const auto c = connection.lock())
      c->begin_stream(number, stream, std::move(head));
    else
      stream->gone();
  });
  return stream;
}

}  // namespace soma::runtime::http
