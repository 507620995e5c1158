// Redriven commands beside what comes meanwhile: an outcome reported again while its actor is read
// back (I5), a send that could overtake an earlier one (I12).
#include "tests/unit/host/gated_store.h"
#include "tests/unit/host/parked_fixture.h"

namespace soma::runtime {
namespace {

class RedriveRaces : public Parked {
 protected:
  // From the next start on.
  GatedStore& gated() {
    crash();
    auto store = std::make_unique<GatedStore>();
    auto& out = *store;
    store_ = std::move(store);
    return out;
  }
  // How often the log holds it as run.
  int runs(const std::string& id, const std::string& command_id) {
    int out = 0;
    events::FrameReader reader(*log_, partition_of(counter(id), log_->partition_count()));
    for (;;) {
      const auto frames = reader.next();
      EXPECT_TRUE(frames) << frames.error().message;
      if (!frames || frames->empty()) return out;
      for (const auto& frame : *frames)
        for (const auto& entry : frame.frame->entries())
          out += entry.parked().empty() && entry.context().command_id() == command_id;
    }
  }
  // `command` was told by the runner of an earlier life, and parked. It is redriven while its
  // actor, being read back, is about to report its effect once more.
  void redrive_while_restored(const std::string& id, const v1::CounterCommand& outcome,
                              const std::string& command_id) {
    auto& store = gated();
    std::unique_lock held(store.loads);
    park(id, outcome, command_id);
    ASSERT_EQ(parked().size(), 1u);  // all partitions serve
    while (store.waiting == 0) std::this_thread::yield();
    ASSERT_TRUE(host_->redrive(counter(id)));
  }
};

TEST_F(RedriveRaces, ARedrivenOutcomeThatIsReportedAgainIsRecordedOnce) {
  const std::string outcome_id = "effect:" + to_string(counter("p")) + ":call:1";
  runner_.silent = true;
  v1::CounterCommand c;
  c.mutable_call_out()->set_call_id("call");
  ASSERT_TRUE(submit(counter("p"), c, "place"));
  auto* outcome = c.mutable_effect_outcome();
  outcome->set_effect_id("call");
  outcome->set_attempt(1);
  outcome->set_unknown("the node stopped");
  redrive_while_restored("p", c, outcome_id);
  eventually("p", [](const auto& s) { return s.calls_size() == 0; });
  ASSERT_TRUE(host_->drain(10'000));  // all that was reported stands in the log
  EXPECT_EQ(runs("p", outcome_id), 1) << "I5";
}

// A call placed anew has the id of its outcome from the one before.
TEST_F(RedriveRaces, TheOutcomeOfALaterCallOfThatNameIsTaken) {
  runner_.silent = true;
  v1::CounterCommand c;
  c.mutable_call_out()->set_call_id("call");
  ASSERT_TRUE(submit(counter("p"), c, "place"));
  v1::CounterCommand outcome;
  outcome.mutable_effect_outcome()->set_effect_id("call");
  outcome.mutable_effect_outcome()->set_attempt(1);
  outcome.mutable_effect_outcome()->set_result("done");
  redrive_while_restored("p", outcome, "effect:" + to_string(counter("p")) + ":call:1");
  eventually("p", [](const auto& s) { return s.calls_size() == 0; });
  runner_.silent = false;
  const int before = runner_.count("call");
  ASSERT_TRUE(submit(counter("p"), c, "place again"));
  eventually("p", [](const auto& s) { return s.calls_size() == 0; });  // ctest ends this
  EXPECT_EQ(runner_.count("call"), before + 1);
}

TEST_F(RedriveRaces, NoSendOvertakesAnEarlierOneOfItsPartition) {
  const auto beside = [](const std::string& first, std::string name) {
    while (partition_of(counter(name), 8) != partition_of(counter(first), 8)) name += "+";
    return name;
  };
  const std::string a = "a", b = beside(a, "b"), c = beside(a, "c");  // redriven in this order
  crash();
  limits_.frame_max_entries = 1;  // one command a round
  limits_.frames_in_flight = 16;
  limits_.waiting_per_actor = 1;
  start();
  ASSERT_TRUE(add(a, 10, "ten"));
  ASSERT_TRUE(add(c, 10, "ten more"));
  auto& store = gated();
  park(b, 5, "late");
  std::unique_lock reading(store.loads, std::defer_lock);
  crash();
  reading.lock();
  park(a, transfer(1, b), "first");
  parked();                                              // all of them serve
  while (store.waiting == 0) std::this_thread::yield();  // in a round that restores `a`
  ASSERT_TRUE(host_->redrive(counter(a)));
  ASSERT_TRUE(host_->redrive(counter(b)));
  std::promise<Result<Accepted>> second;
  host_->submit({counter(c), transfer(2, b).SerializeAsString(), "second", {}, {}, {}, {}},
                [&](Result<Accepted> r) { second.set_value(std::move(r)); });
  const std::string nobody = beside(a, "nobody");
  // Returns when what was sent to `c` before has left the queue.
  const auto get_in = [&] {
    v1::CounterCommand probe;
    probe.mutable_add()->set_amount(0);
    for (bool in = false; !in; std::this_thread::yield()) {
      auto refused = std::make_shared<std::atomic<bool>>(false);
      host_->submit({counter(c), probe.SerializeAsString(), "probe", {}, {}, {}, {}, true},
                    [refused](const Result<Accepted>& r) { *refused = !r; });
      EXPECT_FALSE(host_->redrive(counter(nobody)));  // the partition comes to it behind that
      in = !*refused;
    }
  };
  {
    // `a` sends while `b` is still to run what was parked, so by the log, which takes nothing now.
    std::lock_guard held(disk_);
    reading.unlock();
    get_in();
    get_in();  // the first was taken in a later round than that of `second`
  }
  ASSERT_TRUE(second.get_future().get());
  eventually(b, [](const auto& s) { return s.value() == 8; });
  const auto history = host_->history(counter(b), Sequence{0}, 10);
  ASSERT_TRUE(history);
  std::vector<std::int64_t> came;
  for (const auto& row : *history) {
    v1::CounterEvent event;
    ASSERT_TRUE(event.ParseFromString(row.event.payload()));
    came.push_back(event.added().amount());
  }
  EXPECT_EQ(came, (std::vector<std::int64_t>{5, 1, 2})) << "I12";
}

}  // namespace
}  // namespace soma::runtime
