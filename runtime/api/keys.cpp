// Claims before the handler, records after it, and those who wait meanwhile.
#include "runtime/api/keys.h"

#include <atomic>
#include <map>
#include <mutex>
#include <optional>
#include <vector>

#include "actors/idempotency/idempotency.h"
#include "runtime/api/command_history.h"
#include "runtime/telemetry/log.h"
#include "soma/v1/idempotency.pb.h"

namespace soma::runtime::api {

namespace {

constexpr char kReplayed[] = "Idempotent-Replayed";

struct Waiter {
  std::uint64_t number = 0;
  http::Responder responder;
};
struct Running {
  std::string hash;
  std::vector<Waiter> waiting;
};

http::Response busy() {
  return http::problem_retry(
      {Code::kConflict, "the first request with this Idempotency-Key is still running", {}}, 1);
}

http::Response answer_again(const v1::RecordedAnswer& answer) {
  http::Response out;
  out.status = static_cast<int>(answer.status());
  out.body = answer.body();
  out.content_type = answer.content_type();
  for (const auto& h : answer.headers()) out.header(h.name(), h.value());
  out.header(kReplayed, "true");
  return out;
}

v1::RecordedAnswer recorded(const http::Response& response) {
  v1::RecordedAnswer out;
  out.set_status(static_cast<std::uint32_t>(response.status));
  out.set_body(response.body);
  out.set_content_type(response.content_type);
  for (const auto& [name, value] : response.headers) {
    if (name == kReplayed) continue;  // said of each answer anew
    auto* h = out.add_headers();
    h->set_name(name);
    h->set_value(value);
  }
  return out;
}

}  // namespace

struct Keys::Table {
  std::mutex mutex;
  std::map<std::string, Running> running;  // by TENANT, newline, key
  std::uint64_t next_waiter = 1;

  static std::string name_of(const http::Request& r) {
    return r.tenant() + "\n" + r.idempotency_key;
  }
  std::vector<Waiter> end(const std::string& name) {
    const std::lock_guard lock(mutex);
    auto it = running.find(name);
    if (it == running.end()) return {};
    auto waiting = std::move(it->second.waiting);
    running.erase(it);
    return waiting;
  }
  // A waiter leaves, answered by whoever took it out.
  std::optional<Waiter> take(const std::string& name, std::uint64_t number) {
    const std::lock_guard lock(mutex);
    auto it = running.find(name);
    if (it == running.end()) return {};
    for (auto& w : it->second.waiting)
      if (w.number == number) {
        Waiter out = std::move(w);
        std::swap(w, it->second.waiting.back());
        it->second.waiting.pop_back();
        return out;
      }
    return {};
  }
};

namespace {

// The handler's responder: what it is given is recorded before it is passed on.
template <typename Table>
class Recorder final : public http::Responder::Sink,
                       public std::enable_shared_from_this<Recorder<Table>> {
 public:
  Recorder(const Node& node, std::shared_ptr<Table> table, std::shared_ptr<http::Request> request,
           bool secret, http::Responder inner)
      : node_(node),
        table_(std::move(table)),
        request_(std::move(request)),
        secret_(secret),
        inner_(std::move(inner)) {}
  ~Recorder() override {
    if (!answered_.exchange(true)) finish(http::problem({Code::kInternal, "no answer", {}}), false);
  }

  bool answered() const override { return answered_.load(); }
  void abandon() { answered_ = true; }  // the answer goes another way

  std::shared_ptr<http::EventStream> stream(http::StreamHead head) override {
    if (answered_.exchange(true)) return nullptr;
    if (request_->replayed) head.headers.emplace_back(kReplayed, "true");
    for (auto& w : table_->end(Table::name_of(*request_))) w.responder.send(busy());
    return inner_.stream(std::move(head));
  }

  void send(http::Response response) override {
    if (answered_.exchange(true)) return;
    if (response.status < 300 && response.in_history) return finish(std::move(response), true);
    v1::IdempotencyCommand command;
    bool kept = false;
    if (response.status < 300 && response.body.size() <= Keys::kMaxKeptBody && !secret_) {
      command.mutable_record_answer()->set_round(request_->key_round);
      *command.mutable_record_answer()->mutable_answer() = recorded(response);
      kept = true;
    } else if (frees_key(response)) {
      command.mutable_free_key()->set_round(request_->key_round);
      command.mutable_free_key()->set_reason("answered " + std::to_string(response.status));
    } else {
      const bool done = response.status < 300;
      return finish(std::move(response), done);  // the claim stays: a retry finds out
    }
    auto submission = own_submission(
        *request_, actors::idempotency_key(request_->tenant(), request_->idempotency_key), command);
    // The answer goes out even when it could not be recorded: what it tells has happened.
    node_.host->submit(std::move(submission),
                       [self = this->shared_from_this(), kept,
                        r = std::make_shared<http::Response>(std::move(response))](
                           Result<Accepted>) { self->finish(std::move(*r), kept); });
  }

 private:
  // A refusal of a second run says nothing of the first, which may have led to events: under the id
  // of another round the command would be applied once more.
  bool frees_key(const http::Response& response) const {
    const bool refused = response.status >= 400 && response.status < 500;
    return response.settled || (refused && !request_->replayed);
  }

  void finish(http::Response response, bool replays) {
    for (auto& w : table_->end(Table::name_of(*request_))) {
      http::Response copy = response;
      if (replays) {
        std::erase_if(copy.headers, [](const auto& h) { return h.first == kReplayed; });
        copy.header(kReplayed, "true");
      }
      w.responder.send(std::move(copy));
    }
    inner_.send(std::move(response));
  }

  const Node& node_;
  const std::shared_ptr<Table> table_;
  const std::shared_ptr<http::Request> request_;
  const bool secret_;
  const http::Responder inner_;
  std::atomic<bool> answered_{false};
};

// On a host thread, where nobody else catches.
void run(const http::Route& route, const std::shared_ptr<http::Request>& request,
         const http::Responder& responder) {
  try {
    route.handler(request, responder);
  } catch (const std::exception& e) {
    log_error(
        "handler_threw",
        {{"route", route.pattern}, {"reason", e.what()}, {"request_id", request->request_id}});
    responder.fail({Code::kInternal, "the handler failed", {}});
  }
}

}  // namespace

Keys::Keys(const Node& node) : node_(node), table_(std::make_shared<Table>()) {}
Keys::~Keys() = default;

void Keys::handle(const http::Route& route, const std::shared_ptr<http::Request>& request,
                  const http::Responder& responder) {
  const std::string name = Table::name_of(*request);
  const std::string hash = request_hash_of(*request);
  // Who waits gets the first one's answer as it is: where that is a secret, its caller alone may.
  const std::string same = route.secret_answer ? hash + "\n" + request->principal.subject() + "\n" +
                                                     request->identity.token_id
                                               : hash;
  {
    std::unique_lock lock(table_->mutex);
    auto [it, first] = table_->running.try_emplace(name);
    if (!first) {
      if (it->second.hash != same) {
        lock.unlock();
        return responder.fail({Code::kConflict,
                               "this Idempotency-Key stands for another request that is running; "
                               "use a new key for a new request",
                               {}});
      }
      if (it->second.waiting.size() >= kMaxWaiting) {
        lock.unlock();
        return responder.send(busy());
      }
      const std::uint64_t number = table_->next_waiter++;
      it->second.waiting.push_back({number, responder});
      node_.clock->call_in(kMaxWaitMs, [table = table_, name, number] {
        if (auto waiter = table->take(name, number)) waiter->responder.send(busy());
      });
      return;
    }
    it->second.hash = same;
  }
  v1::IdempotencyCommand command;
  command.mutable_claim_key()->set_request_hash(hash);
  command.mutable_claim_key()->set_route(route.method + " " + route.pattern);
  const ActorKey actor = actors::idempotency_key(request->tenant(), request->idempotency_key);
  auto submission = own_submission(*request, actor, command);
  auto recorder =
      std::make_shared<Recorder<Table>>(node_, table_, request, route.secret_answer, responder);
  // What ends before the handler runs is neither recorded nor frees the key.
  const auto end_all = [table = table_, name, responder](const http::Response& response) {
    for (auto& w : table->end(name)) w.responder.send(response);
    responder.send(response);
  };
  node_.host->submit(std::move(submission), [this, actor, request, recorder, end_all,
                                             &route](Result<Accepted> claimed) {
    if (!claimed) {
      recorder->abandon();
      return end_all(problem_of(claimed.error()));
    }
    v1::IdempotencyReply reply;
    reply.ParseFromString(claimed->reply);
    request->key_round = reply.round();
    request->replayed = !reply.fresh();
    if (reply.fresh()) return run(route, request, http::Responder(recorder));
    node_.host->read(actor, [request, recorder, end_all, &route](Result<StateView> view) {
      if (!view) {
        recorder->abandon();
        return end_all(problem_of(view.error()));
      }
      const auto& state = static_cast<const v1::IdempotencyState&>(*view->state);
      request->key_claimed_ms = state.claimed_ms();
      if (!state.has_answer()) return run(route, request, http::Responder(recorder));
      recorder->abandon();
      end_all(answer_again(state.answer()));
    });
  });
}

}  // namespace soma::runtime::api
