// One order for all routes.
#include "runtime/api/gate.h"

#include <chrono>

#include "runtime/api/stream_guard.h"
#include "runtime/api/submit.h"
#include "runtime/security/may.h"
#include "runtime/telemetry/log.h"

namespace soma::runtime::api {

namespace {

// Limits go by a clock that nobody sets: one that was set back would stop their windows, one that
// was set ahead would empty them.
std::int64_t steady_ms() {
  using namespace std::chrono;
  return duration_cast<milliseconds>(steady_clock::now().time_since_epoch()).count();
}

}  // namespace

void Gate::handle(const http::Route& route, const std::shared_ptr<http::Request>& request,
                  const http::Responder& responder) {
  if (route.capability == "public") return enter(route, request, responder);
  admission_.check(
      *node_.host, request->identity, [this, &route, request, responder](Status admitted) {
        if (!admitted) return responder.send(problem_of(admitted.error()));
        // The user may have been read only now, and was not known when it came in.
        admission_.narrow(request->identity);
        *request->principal.mutable_capabilities() = request->identity.principal.capabilities();
        if (auto ok = security::may(request->principal, route.capability); !ok)
          return responder.fail(ok.error());
        limit(route, request, responder);
      });
}

void Gate::limit(const http::Route& route, const std::shared_ptr<http::Request>& request,
                 const http::Responder& responder) {
  rates_.check(
      *node_.host, request->tenant(), request->principal.subject(), steady_ms(),
      [this, &route, request, responder](Status allowed) {
        if (allowed) return enter(route, request, responder);
        const auto ms = allowed.error().retry_after_ms;
        responder.send(http::problem_retry(allowed.error(), static_cast<int>((ms + 999) / 1000)));
      });
}

void Gate::enter(const http::Route& route, const std::shared_ptr<http::Request>& request,
                 const http::Responder& responder) {
  try {
    const bool streams = route.capability != "public" && (route.streaming || route.websocket);
    const http::Responder out =
        streams ? guard_streams(node_, admission_, request->identity, route.capability, responder)
                : responder;
    if (!request->idempotency_key.empty() && route.method != "GET")
      keys_.handle(route, request, out);
    else
      route.handler(request, out);
  } catch (const std::exception& e) {  // on a host thread nobody else would catch it
    log_error(
        "handler_threw",
        {{"route", route.pattern}, {"reason", e.what()}, {"request_id", request->request_id}});
    responder.fail({Code::kInternal, "the handler failed", {}});
  }
}

}  // namespace soma::runtime::api
