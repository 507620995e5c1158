// Many durable timers are armed, the host goes and comes back, and each fires once.
#include <condition_variable>
#include <mutex>

#include "soma/v1/counter.pb.h"
#include "tools/bench/host_runs.h"
#include "tools/bench/stack.h"
#include "tools/bench/timer_plan.h"

namespace soma::bench {

namespace {

constexpr std::size_t kOutstanding = 2048, kActive = 20'000;

// Hears every durable firing.
class Firings {
 public:
  Firings(const TimerPlan& plan, std::size_t timers, TimersRun& out)
      : plan_(plan), fired_(timers), out_(out) {}

  void operator()(const events::ValidFrame& frame) {
    const std::int64_t now = wall_ms();
    std::lock_guard lock(mutex_);
    for (const auto& entry : frame.frame->entries())
      for (const auto& recorded : entry.events())
        if (recorded.type() == "counter.timer.fired") fired(recorded.payload(), now);
  }

  void wait_for_all(std::chrono::milliseconds patience) {
    std::unique_lock lock(mutex_);
    all_.wait_for(lock, patience, [this] { return out_.fired == fired_.size(); });
  }

 private:
  void fired(const std::string& payload, std::int64_t now) {
    v1::CounterEvent event;
    event.ParseFromString(payload);
    const std::size_t i = std::stoul(event.timer_fired().timer_id());
    if (fired_[i]) return void(++out_.twice);
    fired_[i] = true;
    const std::int64_t late = now - plan_.due_ms(i);
    out_.early += late < 0;
    (plan_.at_once(i) ? out_.instant : out_.others)
        .add(static_cast<std::uint64_t>(std::max<std::int64_t>(late, 0)) * 1'000'000);
    out_.firing_s = static_cast<double>(now - plan_.first_ms()) / 1000;
    if (++out_.fired == fired_.size()) all_.notify_all();
  }

  const TimerPlan& plan_;
  std::mutex mutex_;
  std::condition_variable all_;
  std::vector<bool> fired_;
  TimersRun& out_;
};

runtime::Submission arm(std::size_t i, std::int64_t due_ms) {
  v1::CounterCommand command;
  command.mutable_arm_timer()->set_timer_id(std::to_string(i));
  command.mutable_arm_timer()->set_due_ms(due_ms);
  runtime::Submission s;
  s.actor = {"demo", "counter", "t" + std::to_string(i / TimerPlan::kOfAnActor), {}};
  s.command = command.SerializeAsString();
  s.command_id = "demo:arm-" + std::to_string(i);
  s.once = true;
  return s;
}

Status arm_all(const std::string& folder, const TimerPlan& plan, std::size_t timers,
               TimersRun& out) {
  Stack s;
  if (auto ok = s.open(folder, kActive); !ok) return ok;
  if (auto ok = s.wait_until_served(); !ok) return ok;
  const auto began = Clock::now();
  if (!submit_all(*s.host, timers, kOutstanding,
                  [&](std::size_t i) { return arm(i, plan.due_ms(i)); }))
    return fail(Code::kInternal, "a timer was not armed");
  out.armed_per_s = static_cast<double>(timers) / ms_since(began) * 1000;
  if (!s.host->drain(120'000)) return fail(Code::kInternal, "the host did not drain");
  return {};
}

}  // namespace

Result<TimersRun> run_timers(const Options& options, std::int64_t spread_s, std::int64_t arming_s) {
  DataFolder folder(options.folder);
  if (!folder.ok()) return tl::unexpected(folder.error());
  const std::size_t timers = options.amount;
  const TimerPlan plan(timers, wall_ms() + arming_s * 1000, spread_s * 1000);
  TimersRun out;
  if (auto ok = arm_all(folder.path(), plan, timers, out); !ok) return tl::unexpected(ok.error());
  Firings firings(plan, timers, out);
  const auto began = Clock::now();
  Stack s;
  if (auto ok = s.open(folder.path(), kActive, {[&](const auto& f) { firings(f); }}); !ok)
    return tl::unexpected(ok.error());
  if (auto ok = s.wait_until_served(); !ok) return tl::unexpected(ok.error());
  out.restart_ms = ms_since(began);
  if (wall_ms() >= plan.first_ms())
    return fail(Code::kInvalidArgument, "arming the timers took longer than " +
                                            std::to_string(arming_s) +
                                            " s: give it more, or take fewer timers");
  out.rss_mb = usage_of({::getpid()}).rss_mb;
  const auto profile = profile_of_this(options);
  const double cpu = cpu_seconds();
  firings.wait_for_all(std::chrono::seconds(arming_s + spread_s + 120));
  out.cpu_s = cpu_seconds() - cpu;
  if (!s.host->drain(120'000)) return fail(Code::kInternal, "the host did not drain");
  out.all = out.others;
  out.all.merge(out.instant);
  return out;
}

}  // namespace soma::bench
