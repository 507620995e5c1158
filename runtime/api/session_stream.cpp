// History first, what came meanwhile, then what comes.
#include "runtime/api/session_stream.h"

#include <charconv>
#include <mutex>

#include "runtime/api/views.h"
#include "schemas/json/json_text.h"

namespace soma::runtime::api {

namespace json = boost::json;

Result<StreamPlace> parse_place(const std::string& text) {
  StreamPlace p;
  if (text.empty()) return p;
  const char* at = text.data();
  const char* end = at + text.size();
  const auto number = [&](auto& out) {
    auto r = std::from_chars(at, end, out);
    if (r.ec != std::errc{}) return false;
    at = r.ptr;
    return true;
  };
  bool ok = number(p.sequence);
  if (ok && at != end) {
    p.in_tokens = true;
    ok = *at++ == '.' && number(p.attempt) && at != end && *at++ == '.' && number(p.index) &&
         at == end;
  }
  if (!ok)
    return fail(Code::kInvalidArgument, "Last-Event-ID must be an id that this stream sent",
                "header.Last-Event-ID");
  return p;
}

namespace {

constexpr std::size_t kHistoryPage = 64;
// A client that has so much still to read gets no more for now: what is durable is read again from
// the history when it has caught up, and a running call's tokens come with its answer.
constexpr std::size_t kEnough = http::EventStream::kMaxBuffered / 2;

class Stream : public std::enable_shared_from_this<Stream> {
 public:
  Stream(const Node& node, ActorKey session, StreamPlace place, bool follow,
         std::shared_ptr<http::EventStream> out)
      : node_(node),
        session_(std::move(session)),
        place_(place),
        follow_(follow),
        out_(std::move(out)) {}

  void start() {
    out_->on_disconnect([self = shared_from_this()] { self->end(); });
    auto listening =
        node_.frames->listen(session_, [self = weak_from_this()](const FrameHub::Events& events) {
          if (auto alive = self.lock()) alive->live(events);
        });
    {
      std::lock_guard one(subscribing_);
      if (out_->open()) listen_ = std::move(listening);
    }
    catch_up_later();
  }

 private:
  void catch_up_later() {
    node_.worker->post([self = shared_from_this()] { self->catch_up(); });
  }

  // Under the lock: too slow, or something is missing. Only one catches up at a time.
  void fall_behind() {
    caught_up_ = false;
    out_->on_writable([self = shared_from_this()] { self->catch_up_later(); });
  }

  void live(const FrameHub::Events& events) {
    {
      std::lock_guard lock(mutex_);
      missed_ = true;
      if (!caught_up_) return;
      for (const auto& e : events) {
        if (e.event.sequence() > last_ + 1 || out_->buffered() > kEnough) return fall_behind();
        show(e);
      }
      if (over()) return out_->close();
    }
    subscribe();
  }

  void catch_up() {
    for (;;) {
      Sequence after;
      {
        std::lock_guard lock(mutex_);
        missed_ = false;
        after = Sequence{last_};
      }
      auto page = node_.host->history(session_, after, kHistoryPage);
      if (!page) return out_->close();  // the client comes back with what it saw last
      std::lock_guard lock(mutex_);
      for (const auto& e : *page) {
        if (out_->buffered() > kEnough) return fall_behind();
        show(e);
      }
      if (page->size() == kHistoryPage || missed_) continue;
      caught_up_ = true;
      if (over()) return out_->close();
      break;
    }
    subscribe();
  }

  bool over() const { return ended_ && !follow_; }

  // Under the lock. Events that the client has already seen only move our own state.
  void show(const Host::HistoryEvent& e) {
    const std::uint64_t sequence = e.event.sequence();
    if (sequence <= last_) return;
    last_ = sequence;
    v1::SessionEvent event;
    event.ParseFromString(e.event.payload());
    const bool fresh = sequence > place_.sequence;
    if (event.has_turn_started()) ended_ = false;
    if (event.has_model_requested()) {
      call_ = event.model_requested().call_id();
      turn_ = event.model_requested().turn();
      attempt_ = 1;
      next_ = 0;
    }
    if (event.has_model_restarted()) {
      attempt_ = event.model_restarted().attempt();
      next_ = 0;
    }
    if (sequence == place_.sequence && place_.in_tokens && place_.attempt == attempt_)
      next_ = place_.index + 1;
    if (event.has_model_answered()) {
      if (fresh) rest_of(event.model_answered().answer());
      call_.clear();
    }
    if (fresh) {
      // Its id is that of the event before: who saw only this one is told both again.
      if (event.has_model_restarted())
        out_->event(std::to_string(sequence - 1), "restarted",
                    json_text(json::object{{"turn", turn_}, {"attempt", attempt_}}));
      out_->event(std::to_string(sequence), e.event.type(),
                  json_text(views::event(*node_.catalog, e)));
    }
    if (event.has_session_completed() || event.has_session_failed() ||
        event.has_session_cancelled()) {
      call_.clear();
      ended_ = true;
    }
  }

  // Tokens of a recorded answer that were not sent while they came. They stand before the event
  // that holds it, also in their ids.
  void rest_of(const v1::ModelAnswer& answer) {
    if (answer.attempt() != attempt_ && answer.attempt() != 0) {
      attempt_ = answer.attempt();
      next_ = 0;
    }
    std::size_t at = 0;
    for (int i = 0; i < answer.chunk_bytes_size(); ++i) {
      const std::string text = answer.output().substr(at, answer.chunk_bytes(i));
      at += answer.chunk_bytes(i);
      send_token(last_ - 1, attempt_, static_cast<std::uint32_t>(i), text);
    }
  }

  // `after` is the last event before the tokens.
  void send_token(std::uint64_t after, std::uint32_t attempt, std::uint32_t index,
                  const std::string& text) {
    if (attempt != attempt_ || index != next_) return;  // seen already, or of another attempt
    ++next_;
    out_->event(std::to_string(after) + "." + std::to_string(attempt) + "." + std::to_string(index),
                "token",
                json_text(json::object{
                    {"turn", turn_}, {"attempt", attempt}, {"index", index}, {"text", text}}));
  }

  // Not under the lock: the hub calls back at once with what has come so far.
  void subscribe() {
    std::lock_guard one(subscribing_);
    std::string call;
    {
      std::lock_guard lock(mutex_);
      if (!caught_up_ || call_ == subscribed_) return;
      subscribed_ = call = call_;
    }
    tokens_.reset();
    if (call.empty()) return;
    tokens_ =
        node_.tokens->subscribe(call, [self = weak_from_this(), call](const TokenHub::Token& t) {
          auto alive = self.lock();
          if (!alive) return;
          std::lock_guard lock(alive->mutex_);
          if (alive->call_ == call && alive->caught_up_ && alive->out_->buffered() <= kEnough)
            alive->send_token(alive->last_, t.attempt, t.index, t.text);
        });
  }

  void end() {
    std::lock_guard one(subscribing_);
    listen_.reset();
    tokens_.reset();
  }

  const Node& node_;
  const ActorKey session_;
  const StreamPlace place_;
  const bool follow_;
  const std::shared_ptr<http::EventStream> out_;
  FrameHub::Token listen_;
  std::mutex subscribing_;
  TokenHub::Subscription tokens_;

  std::mutex mutex_;
  bool caught_up_ = false, ended_ = false;
  bool missed_ = false;  // an event came that the history read may not hold
  std::uint64_t last_ = 0;
  std::string call_, subscribed_;
  std::uint32_t turn_ = 0, attempt_ = 1, next_ = 0;
};

}  // namespace

void stream_session(const Node& node, ActorKey session, StreamPlace place, bool follow,
                    std::shared_ptr<http::EventStream> out) {
  std::make_shared<Stream>(node, std::move(session), place, follow, std::move(out))->start();
}

}  // namespace soma::runtime::api
