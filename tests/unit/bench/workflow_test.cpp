// The workflow that is measured beside DBOS is durable: killed in the middle, it goes on by itself.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <future>
#include <map>
#include <mutex>

#include "tools/bench/stack.h"
#include "tools/bench/three_steps.h"

namespace soma::bench {
namespace {

constexpr int kWorkflows = 20;

// Does steps at once, and knows which; the held one never ends.
class Steps final : public runtime::EffectRunner {
 public:
  explicit Steps(std::string held = {}) : held_(std::move(held)) {}
  void run(Job job, OnOutcome done) override {
    if (job.effect.effect_id == held_) return;
    {
      std::lock_guard lock(mutex_);
      ++ran_[job.actor.id + "/" + job.effect.effect_id];
    }
    v1::EffectOutcome outcome;
    outcome.set_effect_id(job.effect.effect_id);
    outcome.set_attempt(job.effect.attempt);
    outcome.set_result("done");
    done(std::move(outcome));
  }
  void cancel(const std::string&) override {}
  std::map<std::string, int> ran() const {
    std::lock_guard lock(mutex_);
    return ran_;
  }

 private:
  const std::string held_;
  mutable std::mutex mutex_;
  std::map<std::string, int> ran_;
};

// Counts durable events of one type.
class Heard {
 public:
  explicit Heard(std::string type) : type_(std::move(type)) {}
  void operator()(const events::ValidFrame& frame) {
    std::lock_guard lock(mutex_);
    for (const auto& entry : frame.frame->entries())
      for (const auto& event : entry.events()) count_ += event.type() == type_;
    changed_.notify_all();
  }
  bool wait_for(int count) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::minutes(1), [&] { return count_ >= count; });
  }

 private:
  const std::string type_;
  std::mutex mutex_;
  std::condition_variable changed_;
  int count_ = 0;
};

ActorKey workflow(int i) { return {"demo", "steps", "w" + std::to_string(i), {}}; }

Result<runtime::Accepted> begin(runtime::Host& host, int i) {
  v1::CounterCommand command;
  command.mutable_call_out()->set_call_id(workflow(i).id);
  runtime::Submission s;
  s.actor = workflow(i);
  s.command = command.SerializeAsString();
  s.command_id = "demo:begin-" + std::to_string(i);
  std::promise<Result<runtime::Accepted>> done;
  host.submit(std::move(s), [&](auto r) { done.set_value(std::move(r)); });
  return done.get_future().get();
}

Status open(Stack& s, const std::string& folder, Steps& steps, Heard& heard) {
  s.catalog = steps_catalog();
  s.effects = &steps;
  if (auto ok = s.open(folder, 1000, {[&](const auto& f) { heard(f); }}); !ok) return ok;
  return s.wait_until_served();
}

// Begins all workflows, tells through `told` that the first steps are durable, and waits for its
// end.
[[noreturn]] void until_killed(const std::string& folder, int told) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  Steps steps("2");
  Heard settled("steps.settled");
  Stack s;
  bool good = open(s, folder, steps, settled).has_value();
  for (int i = 0; good && i < kWorkflows; ++i) good = begin(*s.host, i).has_value();
  const char word = good && settled.wait_for(kWorkflows) ? 'y' : 'n';
  if (::write(told, &word, 1) != 1) ::_exit(1);
  for (;;) ::pause();
}

TEST(Workflow, KilledInTheMiddleGoesOnFromTheStepThatWasNotDone) {
  DataFolder folder("/var/tmp");
  ASSERT_TRUE(folder.ok()) << folder.error().message;
  int told[2];
  ASSERT_EQ(::pipe(told), 0);
  const pid_t child = ::fork();  // the only test of its program: no thread runs yet
  ASSERT_GE(child, 0);
  if (child == 0) until_killed(folder.path(), told[1]);
  ::close(told[1]);
  char word = 0;
  EXPECT_EQ(::read(told[0], &word, 1), 1);
  ::close(told[0]);
  ::kill(child, SIGKILL);
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(word == 'y' && WIFSIGNALED(status)) << word;

  Steps steps;
  Heard ended(StepsDecider::kEnded);
  Stack s;
  const auto opened = open(s, folder.path(), steps, ended);
  ASSERT_TRUE(opened) << opened.error().message;
  EXPECT_TRUE(ended.wait_for(kWorkflows)) << "nobody went on";
  const std::vector<std::string> whole{"steps.placed",  "steps.settled", "steps.placed",
                                       "steps.settled", "steps.placed",  "steps.settled",
                                       "steps.ended"};
  std::map<std::string, int> left;
  for (int i = 0; i < kWorkflows; ++i) {
    const auto again = begin(*s.host, i);
    EXPECT_TRUE(again && again->replayed) << "begun twice";
    const auto history = s.host->history(workflow(i), Sequence{0}, 100);
    ASSERT_TRUE(history) << history.error().message;
    std::vector<std::string> types;
    for (const auto& e : *history) types.push_back(e.event.type());
    EXPECT_EQ(types, whole) << workflow(i).id;
    for (const char* step : {"/2", "/3"}) left[workflow(i).id + step] = 1;
  }
  EXPECT_EQ(steps.ran(), left);  // what was recorded as done is not done again
}

}  // namespace
}  // namespace soma::bench
