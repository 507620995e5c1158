// B9: many durable timers are armed, the host goes and comes back, and each fires once. Lateness is
// from a timer's time until its firing is durable.
#include <boost/json/serialize.hpp>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <future>
#include <mutex>
#include <thread>

#include "soma/v1/counter.pb.h"
#include "tests/bench/stack.h"
#include "tools/bench/child.h"
#include "tools/bench/figures.h"

namespace soma {
namespace {

using bench::Clock;
using bench::ms_since;
using bench::Stack;
constexpr std::size_t kOutstanding = 2048, kTimersOfAnActor = 10;

std::int64_t now_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

// When each timer is due: a tenth of them at one instant, in the middle of the others.
class Plan {
 public:
  Plan(std::size_t timers, std::int64_t first_ms, std::int64_t spread_ms)
      : timers_(timers), first_ms_(first_ms), spread_ms_(spread_ms) {}

  bool at_once(std::size_t i) const { return i % kTimersOfAnActor == 0; }
  std::int64_t due_ms(std::size_t i) const {
    return first_ms_ + (at_once(i) ? spread_ms_ / 2
                                   : spread_ms_ * static_cast<std::int64_t>(i) /
                                         static_cast<std::int64_t>(timers_));
  }

 private:
  std::size_t timers_;
  std::int64_t first_ms_, spread_ms_;
};

// Hears every durable firing.
class Firings {
 public:
  Firings(const Plan& plan, std::size_t timers) : plan_(plan), fired_(timers) {}

  void operator()(const events::ValidFrame& frame) {
    const std::int64_t now = now_ms();
    std::lock_guard lock(mutex_);
    for (const auto& entry : frame.frame->entries())
      for (const auto& recorded : entry.events())
        if (recorded.type() == "counter.timer.fired") fired(recorded.payload(), now);
  }

  bool wait_for_all(std::chrono::milliseconds patience) {
    std::unique_lock lock(mutex_);
    return all_.wait_for(lock, patience, [this] { return count_ == fired_.size(); });
  }

  // Of a stopped host.
  std::size_t count() const { return count_; }
  std::size_t twice() const { return twice_; }
  std::size_t early() const { return early_; }
  const bench::Histogram& of_the_instant() const { return at_once_; }
  const bench::Histogram& of_the_others() const { return others_; }

 private:
  void fired(const std::string& payload, std::int64_t now) {
    v1::CounterEvent event;
    event.ParseFromString(payload);
    const std::size_t i = std::stoul(event.timer_fired().timer_id());
    if (fired_[i]) return void(++twice_);
    fired_[i] = true;
    const std::int64_t late = now - plan_.due_ms(i);
    early_ += late < 0;
    (plan_.at_once(i) ? at_once_ : others_)
        .add(static_cast<std::uint64_t>(std::max<std::int64_t>(late, 0)) * 1'000'000);
    if (++count_ == fired_.size()) all_.notify_all();
  }

  const Plan& plan_;
  mutable std::mutex mutex_;
  std::condition_variable all_;
  std::vector<bool> fired_;
  std::size_t count_ = 0, twice_ = 0, early_ = 0;
  bench::Histogram at_once_, others_;
};

runtime::Submission arm(std::size_t i, std::int64_t due_ms) {
  v1::CounterCommand command;
  command.mutable_arm_timer()->set_timer_id(std::to_string(i));
  command.mutable_arm_timer()->set_due_ms(due_ms);
  runtime::Submission s;
  s.actor = {"demo", "counter", "t" + std::to_string(i / kTimersOfAnActor), {}};
  s.command = command.SerializeAsString();
  s.command_id = "demo:arm-" + std::to_string(i);
  s.once = true;
  return s;
}

bool serves(const runtime::Host& host) {
  for (const auto& p : host.status())
    if (!p.serving) return false;
  return true;
}

// Polled: nothing tells of a partition that begins to serve.
bool wait_until_served(const runtime::Host& host) {
  std::mutex mutex;
  std::condition_variable never;
  std::unique_lock lock(mutex);
  const auto deadline = Clock::now() + std::chrono::minutes(5);
  while (!serves(host) && Clock::now() < deadline)
    never.wait_for(lock, std::chrono::milliseconds(1));
  return serves(host);
}

int wrong(const char* what) {
  std::fprintf(stderr, "timers_bench: %s\n", what);
  return 1;
}

int run(std::size_t timers, std::int64_t spread_s, std::int64_t arming_s) {
  auto folder = bench::make_data_folder("");
  if (!folder) return wrong(folder.error().message.c_str());
  const Plan plan(timers, now_ms() + arming_s * 1000, spread_s * 1000);
  boost::json::object out{{"bench", "timers"},
                          {"machine", bench::machine()},
                          {"timers", timers},
                          {"spread_s", spread_s}};
  {
    Stack s;
    if (auto ok = s.open(*folder, 20'000); !ok) return wrong(ok.error().message.c_str());
    if (!wait_until_served(*s.host)) return wrong("the host did not serve within five minutes");
    const auto began = Clock::now();
    if (!bench::submit_all(*s.host, timers, kOutstanding,
                           [&](std::size_t i) { return arm(i, plan.due_ms(i)); }))
      return wrong("a timer was not armed");
    out["armed_per_s"] =
        static_cast<std::int64_t>(static_cast<double>(timers) / ms_since(began) * 1000);
    if (!s.host->drain(120'000)) return wrong("the host did not drain");
  }
  Firings firings(plan, timers);
  {
    const auto began = Clock::now();
    Stack s;
    if (auto ok = s.open(*folder, 20'000, {[&](const auto& f) { firings(f); }}); !ok)
      return wrong(ok.error().message.c_str());
    if (!wait_until_served(*s.host)) return wrong("the host did not serve within five minutes");
    out["restart_ms"] = ms_since(began);
    if (now_ms() >= plan.due_ms(1)) return wrong("arming took longer than ARMING_S: give more");
    out["rss_mb"] = bench::usage_of({::getpid()}).rss_mb;
    firings.wait_for_all(std::chrono::seconds(arming_s + spread_s + 120));
    if (!s.host->drain(120'000)) return wrong("the host did not drain");
  }
  std::filesystem::remove_all(*folder);
  bench::Histogram all = firings.of_the_others();
  all.merge(firings.of_the_instant());
  out["fired"] = firings.count();
  out["twice"] = firings.twice();
  out["early"] = firings.early();
  for (const auto& [name, h] : {std::pair{"others", &firings.of_the_others()},
                                std::pair{"instant", &firings.of_the_instant()},
                                std::pair{"all", static_cast<const bench::Histogram*>(&all)}})
    out[name] = boost::json::object{
        {"p50_ms", h->at_ms(0.5)}, {"p99_ms", h->at_ms(0.99)}, {"max_ms", h->at_ms(1)}};
  std::printf("%s\n", boost::json::serialize(out).c_str());
  const bool each_once = firings.count() == timers && firings.twice() == 0 && firings.early() == 0;
  std::fprintf(stderr, "GATE B9 %.1f 50 %s\n", all.at_ms(0.99),
               all.at_ms(0.99) <= 50 && each_once ? "PASS" : "FAIL");
  return each_once ? 0 : wrong("not every timer fired once, at its time");
}

}  // namespace
}  // namespace soma

int main(int argc, char** argv) {
  const long timers = argc > 1 ? std::atol(argv[1]) : 1'000'000;
  const long spread = argc > 2 ? std::atol(argv[2]) : 60;
  const long arming = argc > 3 ? std::atol(argv[3]) : 10 + timers / 20'000;
  if (timers < 10 || timers > 10'000'000 || spread < 1 || spread > 3600 || arming < 1 ||
      arming > 3600) {
    std::fprintf(stderr, "usage: timers_bench [TIMERS] [SPREAD_S] [ARMING_S]\n");
    return 2;
  }
  return soma::run(static_cast<std::size_t>(timers), spread, arming);
}
