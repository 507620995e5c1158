// Parked commands: seen, redriven once, and not again after a crash; and lists of actors.
#include "tests/unit/host/parked_fixture.h"

namespace soma::runtime {
namespace {

TEST_F(Parked, IsShownRedrivenOnceAndNotAgainAfterACrash) {
  park("p", 5, "late");
  auto before = parked();
  ASSERT_EQ(before.size(), 1u);
  EXPECT_EQ(before[0].actor, counter("p"));
  EXPECT_EQ(before[0].reason, "an old build could not");
  ASSERT_EQ(before[0].commands.size(), 1u);
  EXPECT_EQ(before[0].commands[0].context.command_id(), "late");
  ASSERT_TRUE(host_->redrive(counter("p")));
  eventually("p", [](const auto& s) { return s.value() == 5; });
  while (!parked().empty())
    std::this_thread::yield();  // the list follows the frame; ctest ends this
  restart();                    // the log holds the command twice: parked, then decided
  EXPECT_TRUE(parked().empty());
  EXPECT_EQ(state("p").value(), 5);
  EXPECT_FALSE(host_->redrive(counter("p")));
  ASSERT_TRUE(add("p", 1, "next"));
  EXPECT_EQ(state("p").value(), 6);
}

TEST_F(Parked, StaysOnceThoughItsRecordIsReadTwice) {
  park("p", 5, "late");
  park("p", 5, "late");  // parked again after a redrive that failed
  auto found = parked();
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].commands.size(), 1u);
}

TEST_F(Parked, AClientsRefusedCommandLeavesTheActorShown) {
  v1::CounterCommand c;
  c.mutable_explode();
  ASSERT_FALSE(submit(counter("bad"), c, "boom"));
  auto found = parked();
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].actor, counter("bad"));
  EXPECT_TRUE(found[0].commands.empty());  // its client was told, so nothing waits
}

TEST_F(HostFixture, ListsATenantsActorsInPages) {
  for (int i = 0; i < 25; ++i) ASSERT_TRUE(add("c" + std::to_string(i), 1, std::to_string(i)));
  all_serve();
  std::set<std::string> seen;
  std::optional<Host::ActorPlace> after;
  for (int pages = 0; pages < 10; ++pages) {
    const auto page = host_->actors("demo", "counter", after, 10).value();
    for (const auto& place : page)
      EXPECT_TRUE(seen.insert(place.actor.id).second) << place.actor.id;
    if (page.size() < 10) break;
    after = page.back();
  }
  EXPECT_EQ(seen.size(), 25u);
  EXPECT_TRUE(host_->actors("other", "", {}, 10)->empty());
  EXPECT_TRUE(host_->actors("demo", "session", {}, 10)->empty());
}

TEST_F(HostFixture, DroppedSnapshotsChangeNothing) {
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(add("a", 2, std::to_string(i)));
  ASSERT_TRUE(host_->drain(10'000));  // writes snapshots
  EXPECT_TRUE(store_->drop_snapshots("other", nullptr).value() == 0);
  EXPECT_GE(store_->drop_snapshots("demo", nullptr).value(), 1u);
  restart();
  EXPECT_EQ(state("a").value(), 10);
}

}  // namespace
}  // namespace soma::runtime
