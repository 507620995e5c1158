// B1: a durable counter, over HTTP and in process, ours and Restate's in turn.
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "soma/v1/counter.pb.h"
#include "tools/bench/in_process_load.h"
#include "tools/bench/stack.h"

namespace soma::bench {

namespace {

constexpr std::size_t kGateClients = 128;

// Every client has its own counter, so that neither side is held back by one actor's order.
HttpScript counter_script(const Options& o, std::uint16_t port, const std::string& prefix,
                          const std::string& body) {
  HttpScript s;
  s.port = port;
  s.clients = o.clients;
  s.seconds = o.seconds;
  std::vector<std::string> requests;
  for (std::size_t i = 0; i < o.clients; ++i)
    requests.push_back(http_request("POST", prefix + "c" + std::to_string(i) + "/add", body));
  s.begin = [requests = std::move(requests)](std::size_t client) { return requests[client]; };
  s.good = [](const HttpAnswer& a) { return a.status == 200; };
  return s;
}

Result<Figures> ours_over_http(const Options& o) {
  auto server = SomaServer::start(o, "");
  if (!server) return tl::unexpected(server.error());
  return measure(o, counter_script(o, (*server)->port(), "/v1/bench/counter/", "{\"amount\":1}"),
                 {(*server)->pid()});
}

Result<Figures> restate_over_http(const Options& o) {
  auto server = RestateServer::start(o);
  if (!server) return tl::unexpected(server.error());
  return measure(o, counter_script(o, (*server)->port(), "/counter/", "1"), (*server)->pids());
}

// The closed loop over the host's own API: an answer begins the next command, on the host's thread.
class HostLoad {
 public:
  HostLoad(runtime::Host& host, std::size_t clients) : host_(host), slots_(clients) {
    v1::CounterCommand add;
    add.mutable_add()->set_amount(1);
    command_ = add.SerializeAsString();
    for (std::size_t i = 0; i < clients; ++i)
      slots_[i].actor = {"demo", "counter", "c" + std::to_string(i), {}};
  }

  void begin_all() {
    open_ = slots_.size();
    for (std::size_t i = 0; i < slots_.size(); ++i) submit(i);
  }
  void count(bool on) { counting_ = on; }
  bool end_all() {
    stopping_ = true;
    std::unique_lock lock(mutex_);
    ended_.wait(lock, [&] { return open_ == 0; });
    return true;
  }
  Histogram latencies() const {
    Histogram all;
    for (const auto& s : slots_) all.merge(s.latencies);
    return all;
  }
  std::uint64_t errors() const { return errors_; }

 private:
  struct Slot {  // touched by one answer at a time
    ActorKey actor;
    std::uint64_t number = 0;
    Clock::time_point began;
    Histogram latencies;
  };

  void submit(std::size_t i) {
    Slot& s = slots_[i];
    s.began = Clock::now();
    runtime::Submission c;
    c.actor = s.actor;
    c.command = command_;
    c.command_id = "demo:" + s.actor.id + "-" + std::to_string(++s.number);
    c.principal.set_subject("bench");
    c.principal.set_tenant("demo");
    c.once = true;
    host_.submit(std::move(c), [this, i](Result<runtime::Accepted> r) { answered(i, r); });
  }

  void answered(std::size_t i, const Result<runtime::Accepted>& r) {
    Slot& s = slots_[i];
    if (!r)
      errors_.fetch_add(1);
    else if (counting_.load(std::memory_order_relaxed))
      s.latencies.add(static_cast<std::uint64_t>(
          std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - s.began).count()));
    if (!stopping_.load(std::memory_order_relaxed)) return submit(i);
    std::lock_guard lock(mutex_);
    if (--open_ == 0) ended_.notify_all();
  }

  runtime::Host& host_;
  std::string command_;
  std::vector<Slot> slots_;
  std::atomic<bool> counting_{false}, stopping_{false};
  std::atomic<std::uint64_t> errors_{0};
  std::mutex mutex_;
  std::condition_variable ended_;
  std::size_t open_ = 0;
};

Result<Figures> ours_in_process(const Options& o) {
  DataFolder folder(o.folder);
  if (!folder.ok()) return tl::unexpected(folder.error());
  Stack stack;
  if (auto ok = stack.open(folder.path(), runtime::HostLimits{}.active_actors_per_partition); !ok)
    return tl::unexpected(ok.error());
  if (auto ok = stack.wait_until_served(); !ok) return tl::unexpected(ok.error());
  HostLoad load(*stack.host, o.clients);
  load.begin_all();
  return measured(o, load);
}

}  // namespace

Result<Outcome> bench_counter(const Options& o) {
  Outcome out;
  out.bench = o.in_process ? "counter.in_process" : "counter";
  out.clients = o.clients;
  out.seconds = o.seconds;
  out.durability_ours = ours_durable(o);
  out.peer_name = o.peer;
  if (o.peer == "restate")
    out.durability_peer = "its replicated log with fsync of its WAL (default), one node";
  Options embedded = o;
  embedded.kafka.clear();
  if (o.peer == "embedded") out.durability_peer = ours_durable(embedded);
  std::vector<Figures> ours, peer;
  for (int run = 0; run < o.runs; ++run) {
    auto f = o.in_process ? ours_in_process(o) : ours_over_http(o);
    if (!f) return tl::unexpected(f.error());
    if (auto ok = did_something(*f, "soma"); !ok) return tl::unexpected(ok.error());
    ours.push_back(*f);
    if (out.peer_name.empty()) continue;
    f = o.peer == "embedded" ? ours_over_http(embedded) : restate_over_http(o);
    if (!f) return tl::unexpected(f.error());
    if (auto ok = did_something(*f, o.peer); !ok) return tl::unexpected(ok.error());
    peer.push_back(*f);
  }
  out.ours = median(ours);
  if (out.peer_name.empty()) return out;
  out.peer = median(peer);
  const double ratio = out.ours.ops / std::max(out.peer.ops, 1e-9);
  if (o.clients != kGateClients || o.peer != "restate") return out;  // what the bars are for
  if (o.in_process) {
    out.gates = {{"B1.in_process", "x the peer's ops/s", ratio, 100, true}};
  } else {
    out.gates = {{"B1.ops", "x the peer's ops/s", ratio, 10, true},
                 {"B1.p99", "of the peer's p99", out.ours.p99_ms / std::max(out.peer.p99_ms, 1e-9),
                  0.1, false}};
  }
  return out;
}

}  // namespace soma::bench
