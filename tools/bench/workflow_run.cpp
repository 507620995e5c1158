// Workflows of three durable steps, many at a time.
#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "tools/bench/host_runs.h"
#include "tools/bench/in_process_load.h"
#include "tools/bench/stack.h"
#include "tools/bench/three_steps.h"

namespace soma::bench {

namespace {

// Outside work that is done at once, on a thread of its own.
class InstantWork final : public runtime::EffectRunner {
 public:
  InstantWork() : thread_([this] { work(); }) {}
  ~InstantWork() override {
    {
      std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_one();
    thread_.join();
  }
  void run(Job job, OnOutcome done) override {
    {
      std::lock_guard lock(mutex_);
      queue_.emplace_back(std::move(job), std::move(done));
    }
    wake_.notify_one();
  }
  void cancel(const std::string&) override {}

 private:
  void work() {
    std::unique_lock lock(mutex_);
    for (;;) {
      wake_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
      if (queue_.empty()) return;
      auto all = std::exchange(queue_, {});
      lock.unlock();
      for (auto& [job, done] : all) {
        v1::EffectOutcome outcome;
        outcome.set_effect_id(job.effect.effect_id);
        outcome.set_attempt(job.effect.attempt);
        outcome.set_result("done");
        done(std::move(outcome));
      }
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::pair<Job, OnOutcome>> queue_;
  bool stopping_ = false;
  std::thread thread_;
};

// A client begins its next workflow, a new actor, by one deduplicated command when the end of the
// one before is durable. The steps between are the host's alone.
class Workflows {
 public:
  explicit Workflows(std::size_t clients) : slots_(clients) {}

  void begin_all(runtime::Host& host) {
    host_ = &host;
    open_ = slots_.size();
    for (std::size_t i = 0; i < slots_.size(); ++i) begin(i);
  }
  void count(bool on) { counting_ = on; }
  bool end_all() {
    stopping_ = true;
    std::unique_lock lock(mutex_);
    return ended_.wait_for(lock, std::chrono::minutes(2), [&] { return open_ == 0; });
  }
  Histogram latencies() const {
    Histogram all;
    for (const auto& s : slots_) all.merge(s.latencies);
    return all;
  }
  std::uint64_t errors() const { return errors_; }

  void heard(const events::ValidFrame& frame) {  // durable
    for (const auto& entry : frame.frame->entries())
      for (const auto& event : entry.events())
        if (event.type() == StepsDecider::kEnded) ended(std::stoul(entry.actor().id()));
  }

 private:
  struct Slot {  // of one workflow at a time
    std::uint64_t number = 0;
    Clock::time_point began;
    Histogram latencies;
  };

  void begin(std::size_t i) {
    const std::string id = std::to_string(i) + "-" + std::to_string(++slots_[i].number);
    slots_[i].began = Clock::now();
    v1::CounterCommand command;
    command.mutable_call_out()->set_call_id(id);
    runtime::Submission c;
    c.actor = {"demo", std::string(StepsDecider::kName), id, {}};
    c.command = command.SerializeAsString();
    c.command_id = "demo:" + id;
    c.principal.set_subject("bench");
    c.principal.set_tenant("demo");
    host_->submit(std::move(c), [this](const Result<runtime::Accepted>& r) {
      if (r) return;
      errors_.fetch_add(1);
      finish();  // this client is done: what was refused once is not asked for again and again
    });
  }
  void ended(std::size_t i) {
    if (counting_.load(std::memory_order_relaxed))
      slots_[i].latencies.add(static_cast<std::uint64_t>(ms_since(slots_[i].began) * 1e6));
    stopping_.load(std::memory_order_relaxed) ? finish() : begin(i);
  }
  void finish() {
    std::lock_guard lock(mutex_);
    if (--open_ == 0) ended_.notify_all();
  }

  runtime::Host* host_ = nullptr;
  std::vector<Slot> slots_;
  std::atomic<bool> counting_{false}, stopping_{false};
  std::atomic<std::uint64_t> errors_{0};
  std::mutex mutex_;
  std::condition_variable ended_;
  std::size_t open_ = 0;
};

}  // namespace

Result<Figures> run_workflows(const Options& o) {
  DataFolder folder(o.folder);
  if (!folder.ok()) return tl::unexpected(folder.error());
  Workflows load(o.clients);
  InstantWork work;
  Stack stack;
  stack.catalog = steps_catalog();
  stack.effects = &work;
  if (auto ok = stack.open(folder.path(), runtime::HostLimits{}.active_actors_per_partition,
                           {[&](const auto& f) { load.heard(f); }});
      !ok)
    return tl::unexpected(ok.error());
  if (auto ok = stack.wait_until_served(); !ok) return tl::unexpected(ok.error());
  load.begin_all(*stack.host);
  return measured(o, load);
}

}  // namespace soma::bench
