// R21: five times what a server can do, offered in an open loop; what it then still does, how it
// refuses the rest, what that costs in memory, and how soon it is back.
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json/serialize.hpp>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <thread>

#include "schemas/base/ids.h"
#include "tools/bench/servers.h"

namespace soma::bench {
namespace {

namespace json = boost::json;

constexpr std::size_t kPeakClients = 128, kOverloadClients = 512;
constexpr double kTimes = 5;                    // of the peak
constexpr double kCalmRate = 50;                // operations a second of a calm client
constexpr std::uint32_t kPartitions = 8;        // the setting partition_count
constexpr double kBackOps = 0.8, kBackP99 = 2;  // of the peak's: recovered
constexpr int kPatienceS = 15;                  // for the recovery
// Of the server: an actor holds three times as many commands at most, one third waiting and two in
// frames. With the default of 1,024 the connections would not be more than one actor takes.
constexpr char kMailboxLimit[] = "128";
constexpr char kTenant[] = "demo";  // of a developer without a token

int wrong(const std::string& what) {
  std::fprintf(stderr, "overload_bench: %s\n", what.c_str());
  return 1;
}

// The harness's thread and what it starts from now on: all cores but the last, or only that.
// Nothing on one core.
void pin(bool to_last) {
  cpu_set_t all, mine;
  CPU_ZERO(&mine);
  if (::sched_getaffinity(::getppid(), sizeof all, &all) != 0 || CPU_COUNT(&all) < 2) return;
  int last = CPU_SETSIZE - 1;
  while (!CPU_ISSET(last, &all)) --last;
  for (int core = 0; core <= last; ++core)
    if (CPU_ISSET(core, &all) && (core == last) == to_last) CPU_SET(core, &mine);
  ::sched_setaffinity(0, sizeof mine, &mine);
}

// Resident memory of one process until end(), but for the first second, in MB.
class Memory {
 public:
  explicit Memory(pid_t pid) : thread_([this, pid] { watch(pid); }) {}
  ~Memory() { end(); }
  void end() {
    {
      std::lock_guard lock(mutex_);
      over_ = true;
    }
    ended_.notify_all();
    if (thread_.joinable()) thread_.join();
  }
  json::array each_second;
  double least = 0, most = 0, most_at_s = 0;
  bool measured() const { return samples_ >= kLeastSamples; }
  double spread_percent() const {
    return least + most > 0 ? 100 * (most - least) / (most + least) : 0;
  }

 private:
  void watch(pid_t pid) {
    const auto from = std::chrono::steady_clock::now() + std::chrono::seconds(1);
    const double page_mb = static_cast<double>(::sysconf(_SC_PAGESIZE)) / 1e6;
    std::unique_lock lock(mutex_);
    while (!ended_.wait_for(lock, std::chrono::milliseconds(50), [this] { return over_; })) {
      std::ifstream in("/proc/" + std::to_string(pid) + "/statm");
      double size = 0, resident = 0;
      if (std::chrono::steady_clock::now() < from || !(in >> size >> resident)) continue;
      resident *= page_mb;
      if (samples_++ % 20 == 0) each_second.emplace_back(std::round(resident));
      least = least > 0 ? std::min(least, resident) : resident;
      if (resident > most) most_at_s = std::round(static_cast<double>(samples_) / 2) / 10;
      most = std::max(most, resident);
    }
  }
  static constexpr int kLeastSamples = 10;
  std::mutex mutex_;
  std::condition_variable ended_;
  bool over_ = false;
  int samples_ = 0;
  std::thread thread_;
};

bool good(const HttpAnswer& a) { return a.status == 200; }

// As the contract has it: the status, a code and when to come again.
bool refused(const HttpAnswer& a) {
  const auto says = [&](std::string_view code) { return a.body.find(code) != a.body.npos; };
  return a.retry_after && ((a.status == 503 && says("\"code\":\"overloaded\"")) ||
                           (a.status == 429 && says("\"code\":\"rate_limited\"")));
}

HttpScript adding(std::uint16_t port, std::size_t clients, double seconds,
                  const std::function<std::string(std::size_t)>& counter) {
  HttpScript s;
  s.port = port;
  s.clients = clients;
  s.warm_s = 0;
  s.seconds = seconds;
  std::vector<std::string> requests;
  for (std::size_t i = 0; i < clients; ++i)
    requests.push_back(
        http_request("POST", "/v1/bench/counter/" + counter(i) + "/add", R"({"amount":1})"));
  s.begin = [requests = std::move(requests)](std::size_t client) { return requests[client]; };
  s.good = good;
  s.refused = refused;
  return s;
}

std::string own(std::size_t client) { return "c" + std::to_string(client); }
std::string hot(std::size_t) { return "hot"; }

// A counter beside the hot one, in its partition or not.
std::string beside(bool same_partition) {
  const auto partition = [](const std::string& id) {
    return partition_of({kTenant, "counter", id, {}}, kPartitions);
  };
  for (int i = 0;; ++i) {
    const std::string id = "calm" + std::to_string(i);
    if ((partition(id) == partition(hot(0))) == same_partition) return id;
  }
}

double rounded(double v) { return std::round(v * 100) / 100; }

json::object of(const Histogram& h) {
  return {{"count", h.count()},
          {"p50_ms", rounded(h.at_ms(0.5))},
          {"p99_ms", rounded(h.at_ms(0.99))},
          {"p999_ms", rounded(h.at_ms(0.999))},
          {"max_ms", rounded(h.at_ms(1))}};
}

double ops(const LoadResult& r) { return static_cast<double>(r.latencies.count()) / r.seconds; }

json::object of(const LoadResult& r) {
  return {{"ops", rounded(ops(r))}, {"good", of(r.latencies)}, {"refused", of(r.refusals)},
          {"errors", r.errors},     {"unsent", r.unsent},      {"first_error", r.first_error}};
}

// A few operations a second beside the load, on a thread of its own.
class Calm {
 public:
  Calm(std::uint16_t port, double seconds, const std::string& counter)
      : script_(adding(port, 4, seconds, [counter](std::size_t) { return counter; })) {
    script_.rate = kCalmRate;
    thread_ = std::thread([this] {
      if (auto r = run_http(script_))
        result = std::move(*r);
      else
        result.first_error = r.error().message;
    });
  }
  ~Calm() { end(); }
  void end() {
    if (thread_.joinable()) thread_.join();
  }
  LoadResult result;

 private:
  HttpScript script_;
  std::thread thread_;
};

class Bench {
 public:
  Bench(SomaServer& server, double seconds) : server_(server), seconds_(seconds) {}

  int run() {
    auto peak = closed(seconds_, own, 1);
    if (!peak) return wrong(peak.error().message);
    peak_ops_ = ops(*peak);
    peak_p99_ms_ = peak->latencies.at_ms(0.99);
    out_["peak"] = of(*peak);
    if (auto hot_peak = closed(1, hot, 1)) out_["peak_of_the_hot_counter"] = of(*hot_peak);
    if (!overload("own_counters", own)) return 1;
    Calm near(server_.port(), seconds_, beside(true)), far(server_.port(), seconds_, beside(false));
    if (!overload("hot_counter", hot)) return 1;
    near.end();
    far.end();
    out_["calm_same_partition"] = of(near.result);
    out_["calm_other_partition"] = of(far.result);
    out_["log_bytes_of_the_server"] = std::filesystem::file_size(server_.folder() + "/soma.log");
    std::printf("%s\n", json::serialize(out_).c_str());
    gate("R21.goodput", goodput_, 0.8, goodput_ >= 0.8);
    gate("R21.refusals", refusals_ms_, 50, refusals_ms_ <= 50 && refused_ > 0 && errors_ == 0);
    gate("R21.memory", spread_percent_, 5, spread_percent_ <= 5);
    gate("R21.recovery", recovery_s_, 5, recovery_s_ <= 5);
    if (errors_ > 0) return wrong("answers that are no refusals; the first: " + first_error_);
    if (refused_ == 0) return wrong("nothing was refused, so this was no overload");
    if (near.result.errors + far.result.errors + near.result.refusals.count() +
            far.result.refusals.count() >
        0)
      return wrong("calm clients were refused");
    if (near.result.latencies.count() == 0 || far.result.latencies.count() == 0)
      return wrong("a calm client was not answered: " + near.result.first_error + " " +
                   far.result.first_error);
    return 0;
  }

 private:
  static void gate(const char* id, double measured, double bar, bool pass) {
    std::fprintf(stderr, "GATE %s %.3f %g %s\n", id, measured, bar, pass ? "PASS" : "FAIL");
  }

  Result<LoadResult> closed(double seconds, std::string (*counter)(std::size_t),
                            double warm_s) const {
    HttpScript s = adding(server_.port(), kPeakClients, seconds, counter);
    s.warm_s = warm_s;
    return run_http(s);
  }

  // One phase of overload, and the way back.
  bool overload(const char* name, std::string (*counter)(std::size_t)) {
    HttpScript s = adding(server_.port(), kOverloadClients, seconds_, counter);
    s.rate = kTimes * peak_ops_;
    Memory memory(server_.pid());
    auto r = run_http(s);
    memory.end();
    if (!r) return wrong(r.error().message) == 0;
    if (!memory.measured()) return wrong("memory was not measured: the phase is too short") == 0;
    goodput_ = std::min(goodput_, ops(*r) / peak_ops_);
    spread_percent_ = std::max(spread_percent_, memory.spread_percent());
    refusals_ms_ = std::max(refusals_ms_, r->refusals.at_ms(0.999));
    refused_ += r->refusals.count();
    errors_ += r->errors;
    if (first_error_.empty()) first_error_ = r->first_error;
    json::object phase = of(*r);
    phase["rate"] = rounded(s.rate);
    phase["share_of_peak"] = rounded(ops(*r) / peak_ops_);
    phase["rss_mb"] = json::array{rounded(memory.least), rounded(memory.most)};
    phase["rss_most_at_s"] = memory.most_at_s;
    phase["rss_mb_each_second"] = memory.each_second;
    json::array seconds;
    const double recovery_s = recover(seconds);
    phase["recovery"] = std::move(seconds);
    phase["recovery_s"] = rounded(recovery_s);
    recovery_s_ = std::max(recovery_s_, recovery_s);
    out_[name] = std::move(phase);
    return true;
  }

  // Until the end of the first second that is as good as those of the peak.
  double recover(json::array& seconds) const {
    const auto began = std::chrono::steady_clock::now();
    for (double took = 0; took < kPatienceS;) {
      const auto r = closed(1, own, 0);
      if (r) seconds.push_back({{"ops", rounded(ops(*r))}, {"good", of(r->latencies)}});
      took = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
      if (r && r->errors + r->refusals.count() == 0 && ops(*r) >= kBackOps * peak_ops_ &&
          r->latencies.at_ms(0.99) <= kBackP99 * peak_p99_ms_)
        return took;
    }
    return kPatienceS;
  }

  SomaServer& server_;
  const double seconds_;
  json::object out_{{"bench", "overload"}, {"machine", machine()}};
  double peak_ops_ = 0, peak_p99_ms_ = 0;
  double goodput_ = 1e9, refusals_ms_ = 0, spread_percent_ = 0, recovery_s_ = 0;
  std::uint64_t refused_ = 0, errors_ = 0;
  std::string first_error_;
};

int run(double seconds) {
  Options options;
  options.soma = std::filesystem::canonical("/proc/self/exe").parent_path() / "../../tools/soma";
  ::setenv("SOMA_MAILBOX_LIMIT", kMailboxLimit, 1);
  pin(false);
  auto server = SomaServer::start(options, "");
  pin(true);
  if (!server) return wrong(server.error().message);
  return Bench(**server, seconds).run();
}

}  // namespace
}  // namespace soma::bench

int main(int argc, char** argv) {
  const double seconds = argc > 1 ? std::atof(argv[1]) : 10;
  if (argc > 2 || seconds < 2 || seconds > 600) {
    std::fprintf(stderr, "usage: overload_bench [SECONDS of each phase, 2 or more]\n");
    return 2;
  }
  return soma::bench::run(seconds);
}
