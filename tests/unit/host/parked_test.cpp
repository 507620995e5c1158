// Parked commands: seen, redriven once, and not again after a crash; and lists of actors.
#include "fixture.h"

namespace soma::runtime {
namespace {

class Parked : public HostFixture {
 protected:
  // The log as a build left it that could not decide this command.
  void park(const std::string& id, std::int64_t amount, const std::string& command_id) {
    crash();
    events::EmbeddedOptions o;
    o.folder = folder_.string();
    o.segment_bytes = 4 << 20;
    auto log = events::open_embedded_log(std::move(o));
    ASSERT_TRUE(log) << log.error().message;
    events::FrameReader reader(**log, partition_of(counter(id), (*log)->partition_count()));
    while (!reader.next()->empty()) {
    }
    v1::Claim claim;
    claim.set_node_id("old");
    auto writer = events::FrameWriter::claim(**log, reader, claim, 1, [](const auto&) {});
    ASSERT_TRUE(writer) << writer.error().message;
    v1::CounterCommand command;
    command.mutable_add()->set_amount(amount);
    v1::Frame frame;
    auto* entry = frame.add_entries();
    *entry->mutable_actor() = actors::to_ref(counter(id));
    entry->mutable_context()->set_command_id(command_id);
    entry->mutable_context()->set_causation_id("evt_of_another");
    entry->set_command(command.SerializeAsString());
    entry->set_parked("an old build could not");
    *frame.add_touched()->mutable_actor() = entry->actor();
    std::promise<bool> valid;
    (*writer)->append(std::move(frame),
                      [&](const auto& outcome) { valid.set_value(outcome.valid); });
    ASSERT_TRUE(valid.get_future().get());
    writer->reset();
    log->reset();
    start();
  }
  std::vector<Host::ParkedActor> parked() {
    for (;;) {
      bool serving = true;
      for (const auto& p : host_->status()) serving &= p.serving;
      if (serving) return host_->parked().value();
      std::this_thread::yield();
    }
  }
};

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
