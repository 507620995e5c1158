// A stream that looks at its caller from time to time.
#include "runtime/api/stream_guard.h"

#include <atomic>
#include <boost/json/object.hpp>
#include <mutex>
#include <utility>

#include "runtime/security/may.h"
#include "schemas/json/json_text.h"

namespace soma::runtime::api {

namespace json = boost::json;

namespace {

// Whom to tell that a stream has ended: once, whoever finds it first.
struct Ending {
  explicit Ending(std::function<void()> f) : tell_(std::move(f)) {}
  void tell() {
    if (!told_.exchange(true)) tell_();
  }

 private:
  const std::function<void()> tell_;
  std::atomic<bool> told_{false};
};

// Owned by whoever writes to it; gone with that. Thread-safe, as what it wraps.
class GuardedStream final : public http::EventStream,
                            public std::enable_shared_from_this<GuardedStream> {
 public:
  GuardedStream(const Node& node, Admission& admission, security::Identity caller,
                std::string capability, std::shared_ptr<http::EventStream> inner)
      : node_(node),
        admission_(admission),
        caller_(std::move(caller)),
        capability_(std::move(capability)),
        inner_(std::move(inner)),
        seen_ms_(node.clock->now_ms()) {}

  bool event(std::string_view id, std::string_view name, std::string_view data) override {
    return inner_->event(id, name, data);
  }
  bool raw(std::string_view data) override { return inner_->raw(data); }
  bool comment(std::string_view text) override { return inner_->comment(text); }
  void close() override { inner_->close(); }
  void abort() override { inner_->abort(); }
  bool open() const override { return inner_->open(); }
  std::size_t buffered() const override { return inner_->buffered(); }
  void on_writable(std::function<void()> callback) override {
    inner_->on_writable(std::move(callback));
  }
  void on_disconnect(std::function<void()> callback) override {
    const auto ending = std::make_shared<Ending>(std::move(callback));
    bool over = false;
    {
      const std::lock_guard lock(mutex_);
      ending_ = ending;  // weak: what it tells holds this stream
      over = cut_;
    }
    if (over) return ending->tell();
    inner_->on_disconnect([ending] { ending->tell(); });
  }

  void look_later() {
    const std::lock_guard lock(mutex_);
    if (cut_) return;
    next_ =
        node_.deadlines->set(node_.clock->steady_ms() + kGuardEveryMs, [weak = weak_from_this()] {
          if (const auto self = weak.lock()) self->look();
        });
  }

 private:
  void look() {
    if (!inner_->open()) return;
    const std::int64_t now = node_.clock->now_ms();
    if (caller_.expires_s > 0 && (caller_.expires_s + security::kLeewaySeconds) * 1000 <= now)
      return cut({Code::kUnauthenticated, "Token expired", {}});
    admission_.check(*node_.host, caller_, [weak = weak_from_this()](Status admitted) {
      if (const auto self = weak.lock()) self->judge(admitted);
    });
  }

  Status may_still() const {
    security::Identity now = caller_;
    admission_.narrow(now);
    return security::may(now.principal, capability_);
  }

  void judge(const Status& admitted) {
    if (admitted)
      if (auto may = may_still(); !may) return cut(may.error());
    const std::int64_t now = node_.clock->now_ms();
    bool refused = false;
    {
      const std::lock_guard lock(mutex_);
      if (admitted) seen_ms_ = now;
      refused = !admitted &&
                (admitted.error().code == Code::kUnauthenticated || now - seen_ms_ >= kUnseenMs);
    }
    refused ? cut(admitted.error()) : look_later();
  }

  void cut(const Error& why) {
    std::shared_ptr<Ending> ending;
    {
      const std::lock_guard lock(mutex_);
      if (std::exchange(cut_, true)) return;
      ending = ending_.lock();
    }
    const bool told = inner_->event(
        {}, "error",
        json_text(
            json::object{{"error", {{"code", code_name(why.code)}, {"message", why.message}}}}));
    told ? inner_->close() : inner_->abort();  // bytes have no place to tell it
    if (ending) ending->tell();                // a stream that was closed tells nobody
  }

  const Node& node_;
  Admission& admission_;
  const security::Identity caller_;
  const std::string capability_;
  const std::shared_ptr<http::EventStream> inner_;
  std::mutex mutex_;
  Deadlines::Token next_;
  std::weak_ptr<Ending> ending_;
  std::int64_t seen_ms_;
  bool cut_ = false;
};

struct GuardedSink final : http::Responder::Sink {
  GuardedSink(const Node& n, Admission& a, security::Identity c, std::string what,
              http::Responder r)
      : node(n),
        admission(a),
        caller(std::move(c)),
        capability(std::move(what)),
        inner(std::move(r)) {}
  void send(http::Response response) override { inner.send(std::move(response)); }
  bool answered() const override { return inner.answered(); }
  std::shared_ptr<http::EventStream> stream(http::StreamHead head) override {
    auto out = inner.stream(std::move(head));
    if (!out) return nullptr;
    auto guarded =
        std::make_shared<GuardedStream>(node, admission, caller, capability, std::move(out));
    guarded->look_later();
    return guarded;
  }
  const Node& node;
  Admission& admission;
  const security::Identity caller;
  const std::string capability;
  const http::Responder inner;
};

}  // namespace

http::Responder guard_streams(const Node& node, Admission& admission,
                              const security::Identity& caller, const std::string& capability,
                              const http::Responder& responder) {
  return http::Responder(
      std::make_shared<GuardedSink>(node, admission, caller, capability, responder));
}

}  // namespace soma::runtime::api
