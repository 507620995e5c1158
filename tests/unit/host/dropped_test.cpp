// A partition whose memory goes, and what was under way with it.
#include "tests/unit/host/gated_store.h"
#include "tests/unit/host/shared_fixture.h"

namespace soma::runtime {
namespace {

constexpr auto kPatience = std::chrono::seconds(60);  // then a test fails instead of hanging

class Dropped : public HostFixture {
 protected:
  void SetUp() override {
    limits_.checkpoint_every_ms = 3'600'000;
    segment_bytes_ = 64 << 10;
    HostFixture::SetUp();
    crash();
    auto store = std::make_unique<GatedStore>();
    gated_ = store.get();
    store_ = std::move(store);
    start();
    all_serve();
  }
  // Until the partition of "c" is read-only.
  void fill() {
    disk_full_ = true;
    Result<Accepted> last;
    for (int n = 0; (last = add("c", 1, "n" + std::to_string(n)));) ++n;
    ASSERT_EQ(last.error().code, Code::kStorageFull) << last.error().message;
    state("c");
  }
  bool serves() const {
    return host_->status()[partition_of(counter("c"), log_->partition_count()).value].serving;
  }

  GatedStore* gated_ = nullptr;
};

// Of a type that is read on a thread of its own.
TEST_F(Dropped, AReadThatIsWithItsActorWhenSpaceComesBackHoldsNothingUp) {
  fill();
  ActorKey session{"demo", "session", "s", {}};
  while (partition_of(session, log_->partition_count()) !=
         partition_of(counter("c"), log_->partition_count()))
    session.id += "s";
  std::unique_lock gate(gated_->loads);
  const auto told = std::make_shared<std::promise<Result<StateView>>>();
  auto shown = told->get_future();
  host_->read(session, [told](Result<StateView> r) { told->set_value(std::move(r)); });
  while (gated_->waiting == 0) std::this_thread::yield();
  disk_full_ = false;
  while (!serves()) std::this_thread::yield();
  gate.unlock();
  ASSERT_EQ(shown.wait_for(kPatience), std::future_status::ready);
  const auto view = shown.get();
  EXPECT_TRUE(view) << view.error().message;
  EXPECT_TRUE(add("c", 1, "after"));
}

TEST_F(Dropped, ItsRunningEffectsAreCancelled) {
  runner_.silent = true;
  v1::CounterCommand c;
  c.mutable_call_out()->set_call_id("call");
  ASSERT_TRUE(submit(counter("c"), c, "place"));
  while (runner_.count("call") == 0) std::this_thread::yield();
  EXPECT_FALSE(runner_.cancelled("call"));
  fill();
  EXPECT_TRUE(runner_.cancelled("call"));
}

// It does not pass: nobody is told to try again, and lists of the others go on.
TEST_F(Dropped, OneThatCannotBeReadBackIsToldSo) {
  const PartitionId damaged = partition_of(counter("c"), log_->partition_count());
  host_.reset();
  std::promise<void> appended;
  log_->append(damaged, "no frame", [&](const events::AppendReport&) { appended.set_value(); });
  appended.get_future().get();
  restart();
  const auto settled = [&] {
    for (const auto& p : host_->status())
      if (p.partition == damaged ? p.problem.empty() : !p.serving) return false;
    return true;
  };
  while (!settled()) std::this_thread::yield();
  const auto history = host_->history(counter("c"), {}, 10);
  ASSERT_FALSE(history);
  EXPECT_EQ(history.error().code, Code::kCorrupt) << history.error().message;
  EXPECT_TRUE(host_->pending_effects());
  EXPECT_TRUE(host_->parked());
}

class DroppedAlone : public SharedHosts {
 protected:
  void SetUp() override {
    limits_.checkpoint_every_ms = 3'600'000;
    auto store = std::make_unique<GatedStore>();
    gated_ = store.get();
    a_.store = std::move(store);
    SharedHosts::SetUp();
  }
  GatedStore* gated_ = nullptr;
};

// Not only once it is read back, which may be long after.
TEST_F(DroppedAlone, ItsRunningEffectsAreCancelledThoughItCannotBeClaimed) {
  a_.runner.silent = true;
  a_.host->open(partition("c"));
  ASSERT_TRUE(add_at(*a_.host, "c", 1, "1"));
  v1::CounterCommand c;
  c.mutable_call_out()->set_call_id("call");
  a_.host->submit({counter("c"), c.SerializeAsString(), "place", {}, {}, {}, {}},
                  [](const Result<Accepted>&) {});
  while (a_.runner.count("call") == 0) std::this_thread::yield();
  a_.may_claim = false;
  ++gated_->lost;
  EXPECT_EQ(try_add(*a_.host, "c", 1, "2").error().code, Code::kUnknownOutcome);
  EXPECT_EQ(try_add(*a_.host, "c", 1, "2").error().code, Code::kUnavailable);
  EXPECT_TRUE(a_.runner.cancelled("call"));
}

// Each read of it finds one more frame, so that nobody comes to its end.
class EndlessLog final : public HeldReports {
 public:
  explicit EndlessLog(events::Log& log) : HeldReports(log), log_(log) {}
  std::atomic<bool> endless{true};

  Result<std::vector<events::Record>> read(PartitionId p, Offset from,
                                           std::size_t max) const override {
    if (endless) grow(p);
    return HeldReports::read(p, from, max);
  }

 private:
  void grow(PartitionId p) const {
    std::lock_guard lock(mutex_);
    auto& writer = writers_[p.value];
    if (!writer) {
      events::FrameReader reader(log_, p);
      while (!reader.next()->empty()) {
      }
      writer = std::move(*events::FrameWriter::claim(log_, reader, {}, 1, [](const auto&) {}));
    }
    std::promise<bool> valid;
    writer->append({}, [&](const auto& outcome) { valid.set_value(outcome.valid); });
    EXPECT_TRUE(valid.get_future().get());
  }

  events::Log& log_;
  mutable std::mutex mutex_;
  mutable std::map<std::uint32_t, std::unique_ptr<events::FrameWriter>> writers_;
};

TEST_F(HostFixture, AStopWaitsForNoRecovery) {
  host_.reset();
  EndlessLog log(*log_);
  auto host = start_host(
      {&log, catalog_.get(), clock_.get(), &runner_, store_.get(), "test", "", limits_, 2, {}, {}});
  ASSERT_TRUE(host) << host.error().message;
  while ((*host)->metrics().recovered_frames < 10) std::this_thread::yield();
  std::promise<void> gone;
  auto in_time = std::async(std::launch::async, [&] {
    const auto waited = gone.get_future().wait_for(kPatience);
    log.endless = false;
    return waited == std::future_status::ready;
  });
  host->reset();  // on the thread that made it, as CAF wants it
  gone.set_value();
  EXPECT_TRUE(in_time.get());
}

template <typename T>
bool told_to_wait(const Result<T>& r) {
  return !r && r.error().code == Code::kUnavailable && r.error().retry_after_ms > 0;
}

TEST_F(Dropped, NothingIsShownInPartWhileItIsReadBack) {
  for (const char* id : {"1", "2", "3"}) ASSERT_TRUE(add("a", 1, id));
  std::unique_lock gate(gated_->checkpoints);
  restart();
  EXPECT_TRUE(told_to_wait(host_->history(counter("a"), {}, 10)));
  EXPECT_TRUE(told_to_wait(host_->actors("demo", "counter", {}, 10)));
  EXPECT_TRUE(told_to_wait(host_->pending_effects()));
  EXPECT_TRUE(told_to_wait(host_->parked()));
  gate.unlock();
  all_serve();
  EXPECT_EQ(host_->history(counter("a"), {}, 10)->size(), 3u);
  EXPECT_EQ(host_->actors("demo", "counter", {}, 10)->size(), 1u);
  EXPECT_TRUE(host_->pending_effects()->empty());
  EXPECT_TRUE(host_->parked()->empty());
}

TEST_F(Dropped, NorWhileItDoesNotKnowYetThatTheStoreBeganAnew) {
  ASSERT_TRUE(add("a", 1, "1"));
  ASSERT_TRUE(host_->history(counter("a"), {}, 10));
  ++gated_->lost;
  EXPECT_TRUE(told_to_wait(host_->history(counter("a"), {}, 10)));
  EXPECT_TRUE(told_to_wait(host_->actors("demo", "counter", {}, 10)));
  while (!add("a", 1, "2")) std::this_thread::yield();
  EXPECT_EQ(host_->history(counter("a"), {}, 10)->size(), 2u);
}

}  // namespace
}  // namespace soma::runtime
