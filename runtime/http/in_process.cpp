// A sink that is a function.
#include "runtime/http/in_process.h"

#include <atomic>

#include "runtime/telemetry/log.h"

namespace soma::runtime::http {

namespace {

class FunctionSink final : public Responder::Sink {
 public:
  explicit FunctionSink(std::function<void(Response)> done) : done_(std::move(done)) {}
  ~FunctionSink() override { send(problem(Error{Code::kInternal, "no answer", {}})); }

  void send(Response response) override {
    if (!answered_.exchange(true)) done_(std::move(response));
  }
  std::shared_ptr<EventStream> stream(StreamHead) override {
    send(problem(Error{Code::kNotSupported, "this route answers with a stream", {}}));
    return nullptr;
  }
  bool answered() const override { return answered_.load(); }

 private:
  const std::function<void(Response)> done_;
  std::atomic<bool> answered_{false};
};

}  // namespace

void InProcess::call(Head head, std::string body, std::function<void(Response)> done) const {
  const Policy policy{options_, router_, auth_};
  Prepared prepared = prepare(policy, std::move(head));
  if (prepared.early) return done(std::move(*prepared.early));
  if (auto refused = take_body(policy, prepared, std::move(body))) return done(std::move(*refused));
  const Route& route = *prepared.route;
  const Responder responder(std::make_shared<FunctionSink>(std::move(done)));
  try {
    if (options_.gate)
      options_.gate(route, prepared.request, responder);
    else
      route.handler(prepared.request, responder);
  } catch (const std::exception& e) {
    log_error("handler_threw", {{"route", route.pattern},
                                {"reason", e.what()},
                                {"request_id", prepared.request->request_id}});
    responder.fail(Error{Code::kInternal, "the handler failed", {}});
  }
}

}  // namespace soma::runtime::http
