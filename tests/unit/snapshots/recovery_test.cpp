// A host on RocksDB: snapshots change the time that recovery takes, never its outcome.
#include "runtime/snapshots/rocks_store.h"
#include "tests/unit/events/log_fixture.h"
#include "tests/unit/host/fixture.h"

namespace soma::runtime {

namespace {

namespace fs = std::filesystem;

class SnapshotRecovery : public HostFixture {
 protected:
  void SetUp() override {
    limits_.checkpoint_every_events = 20;
    limits_.active_actors_per_partition = 4;  // most are read back from the store
    HostFixture::SetUp();
    host_.reset();
    log_.reset();
    open_store();
    start();
  }
  void TearDown() override {
    crash();
    rocks_ = {};
    store_.reset();
    fs::remove_all(snapshots());
    fs::remove_all(snapshots() + ".damaged");
    fs::remove_all(folder_);
  }
  std::string snapshots() const { return folder_.string() + "-snapshots"; }
  void open_store() {
    auto opened = open_rocks_store(snapshots());
    ASSERT_TRUE(opened) << opened.error().message;
    compact_ = opened->compact;
    store_ = std::move(opened->store);
  }
  // Adds to `count` counters; each then holds `rounds` more.
  void work(int count, int rounds) {
    for (int r = 0; r < rounds; ++r)
      for (int i = 0; i < count; ++i) {
        const std::string id = "c" + std::to_string(i);
        auto done = add(id, 1, "demo:" + id + "/" + std::to_string(++commands_));
        ASSERT_TRUE(done) << done.error().message;
      }
  }
  void expect_all(int count, std::int64_t value) {
    for (int i = 0; i < count; ++i)
      EXPECT_EQ(state("c" + std::to_string(i)).value(), value) << "c" << i;
  }
  void drain() { ASSERT_TRUE(host_->drain(10'000)); }

  RocksStore rocks_;
  std::function<void()> compact_;
  int commands_ = 0;
};

class IdleActors : public SnapshotRecovery {
 protected:
  void SetUp() override {
    limits_.idle_actor_ms = 1;
    limits_.checkpoint_every_ms = 10;
    SnapshotRecovery::SetUp();
    limits_.active_actors_per_partition = 20'000;
  }
  std::size_t active() const {
    std::size_t sum = 0;
    for (const auto& p : host_->status()) sum += p.active_actors;
    return sum;
  }
};

TEST_F(IdleActors, LeaveMemoryOnceStoredAndComeBackAsTheyWere) {
  work(3, 2);
  while (active() > 0) std::this_thread::yield();
  EXPECT_GE(host_->metrics().passivated.load(), 3U);
  expect_all(3, 2);
  work(3, 1);
  expect_all(3, 3);
}

TEST_F(IdleActors, OneEventIsFoldedWhereItsSnapshotIsGone) {
  work(3, 1);
  while (active() > 0) std::this_thread::yield();
  ASSERT_GE(store_->drop_snapshots(counter("c0").tenant, nullptr).value(), 3U);
  expect_all(3, 1);
}

TEST_F(SnapshotRecovery, DeletingEverythingChangesNothing) {
  work(30, 4);
  drain();
  crash();
  store_.reset();
  fs::remove_all(snapshots());
  open_store();
  start();
  expect_all(30, 4);
  auto again = add("c3", 1, "demo:c3/4");  // the recorded reply of an id that the log holds
  ASSERT_TRUE(again);
  EXPECT_TRUE(again->replayed);
  expect_all(30, 4);
}

TEST_F(SnapshotRecovery, ALogRestoredFromABackupIsNotJoinedToYoungerSnapshots) {
  work(30, 2);
  drain();
  crash();
  const fs::path backup = folder_.string() + "-backup";
  events::test::copy_as_killed(folder_.string(), backup.string());
  start();
  work(30, 3);
  drain();
  crash();  // the store now speaks of frames that the backup does not have
  fs::remove_all(folder_);
  events::test::copy_as_killed(backup.string(), folder_.string());
  fs::remove_all(backup);
  start();
  // A log that ends before its snapshots may have lost what was acknowledged: an operator decides.
  const auto refused = [&] {
    for (const auto& p : host_->status())
      if (p.problem.find("remove the snapshots folder") != std::string::npos) return true;
    return false;
  };
  while (!refused()) std::this_thread::yield();
  crash();
  store_.reset();
  fs::remove_all(snapshots());
  open_store();
  start();
  expect_all(30, 2);
  work(30, 1);
  expect_all(30, 3);
}

TEST_F(SnapshotRecovery, AnotherLogThatIsLongerIsNotJoinedEither) {
  work(20, 3);
  drain();
  crash();
  fs::remove_all(folder_);
  auto older = std::exchange(store_, make_memory_store());
  commands_ = 1000;
  start();
  work(20, 8);  // longer, and of the same actors
  drain();
  crash();
  store_ = std::move(older);
  start();
  expect_all(20, 8);
}

TEST_F(SnapshotRecovery, DamagedFilesUnderARunningHostLoseNothing) {
  work(200, 2);
  drain();
  crash();
  compact_();
  store_.reset();
  for (const auto& entry : fs::directory_iterator(snapshots()))
    if (entry.path().extension() == ".sst") {
      auto bytes = events::test::read_bytes(entry.path());
      for (std::size_t i = 20; i < bytes.size() / 2; i += 40) bytes[i] ^= 1;
      events::test::write_bytes(entry.path(), bytes);
    }
  open_store();
  start();
  // A command may meet the damage and then cannot know its outcome: the retry finds out.
  for (int i = 0; i < 200; ++i) {
    const std::string id = "c" + std::to_string(i), command = "demo:late" + std::to_string(i);
    auto done = add(id, 1, command);
    for (int tries = 0; !done && done.error().code == Code::kUnknownOutcome && tries < 10; ++tries)
      done = add(id, 1, command);
    ASSERT_TRUE(done) << done.error().message;
  }
  for (int i = 0; i < 200; ++i)
    EXPECT_EQ(
        eventually("c" + std::to_string(i), [](const auto& s) { return s.value() >= 3; }).value(),
        3);
}

}  // namespace

}  // namespace soma::runtime
