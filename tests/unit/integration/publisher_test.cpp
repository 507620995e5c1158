// The publisher over a real journal: everything public once or more, with one id, from its place
// on.
#include "runtime/integration/publisher.h"

#include <gtest/gtest.h>

#include <set>

#include "soma/v1/memory.pb.h"
#include "tests/unit/integration/fakes.h"
#include "tests/unit/projections/journal.h"

namespace soma::runtime::integration {
namespace {

using projections::test::eventually;
using projections::test::Journal;
using projections::test::TempFolder;

struct PublisherTest : ::testing::Test {
  PublisherTest() : journal((temp.path() / "log").string(), 2) {}

  Position remember(std::uint32_t partition, const std::string& id) {
    v1::Frame frame;
    v1::MemoryEvent e;
    e.mutable_memory_remembered()->mutable_fact()->set_text("fact " + id);
    journal.event(frame, "acme", "memory", id, "memory.remembered", e.SerializeAsString());
    journal.event(frame, "acme", "counter", id, "counter.added", "");
    return journal.append(partition, std::move(frame));
  }
  // As the host does; with another text, so that one can see where it came from.
  void feed(Position position, const std::string& text) {
    auto valid = *events::read_frame_at(journal.log(), position);
    v1::Frame frame = *valid.frame;
    for (auto& event : *frame.mutable_entries(0)->mutable_events()) {
      v1::MemoryEvent e;
      e.ParseFromString(event.payload());
      if (e.has_memory_remembered()) e.mutable_memory_remembered()->mutable_fact()->set_text(text);
      event.set_payload(e.SerializeAsString());
    }
    valid.frame = std::make_shared<const v1::Frame>(std::move(frame));
    frames(valid);
  }
  std::unique_ptr<Publisher> start_fed() {
    return std::make_unique<Publisher>(PublisherParts{
        &journal.log(), catalog.get(), &metrics, "x.", "x.soma.events",
        [this] { return look_at_served(); }, std::make_unique<test::FakeSender>(topics),
        std::make_unique<test::FakeCursors>(topics),
        [this](auto take) {
          frames = std::move(take);
          return std::shared_ptr<void>(nullptr, [](void*) {});
        }});
  }
  std::vector<PartitionId> look_at_served() {
    std::lock_guard lock(topics.mutex);
    ++looks;
    return served;
  }
  // The publisher knows of them when this returns.
  void serve(std::vector<PartitionId> partitions) {
    std::unique_lock lock(topics.mutex);
    served = std::move(partitions);
    const std::size_t then = looks + 2;  // the first may be under way with the others
    lock.unlock();
    ASSERT_TRUE(eventually([&] {
      std::lock_guard again(topics.mutex);
      return looks >= then;
    }));
  }
  bool shows(std::size_t at, const std::string& text) {
    return topics.all_sent().at(at).value.find(text) != std::string::npos;
  }
  std::unique_ptr<Publisher> start() {
    return std::make_unique<Publisher>(PublisherParts{
        &journal.log(), catalog.get(), &metrics, "x.", "x.soma.events",
        [this] { return look_at_served(); }, std::make_unique<test::FakeSender>(topics),
        std::make_unique<test::FakeCursors>(topics)});
  }
  bool sent(std::size_t count) {
    return eventually([&] { return topics.all_sent().size() >= count; });
  }
  std::size_t all_flying() {
    std::lock_guard lock(topics.mutex);
    return topics.flying;
  }
  bool flying(std::size_t count) {
    return eventually([&] { return all_flying() >= count; });
  }
  std::vector<std::string> ids() {
    std::vector<std::string> out;
    for (const auto& r : topics.all_sent())
      for (const auto& [name, value] : r.headers)
        if (name == "ce_id") out.push_back(value);
    return out;
  }

  TempFolder temp;
  Journal journal;
  std::unique_ptr<actors::Catalog> catalog = actors::standard_catalog();
  Metrics metrics;
  test::Topics topics;
  std::vector<PartitionId> served{PartitionId{0}, PartitionId{1}};
  std::size_t looks = 0;
  std::function<void(const events::ValidFrame&)> frames;
};

TEST_F(PublisherTest, FramesOfTheHostAreNotReadAgain) {
  remember(0, "a");
  const auto publisher = start_fed();
  ASSERT_TRUE(sent(1));
  for (const char* id : {"b", "c", "d", "e", "f"}) feed(remember(0, id), "fed");
  ASSERT_TRUE(sent(6));
  EXPECT_EQ(ids(), (std::vector<std::string>{"evt_a_1", "evt_b_1", "evt_c_1", "evt_d_1", "evt_e_1",
                                             "evt_f_1"}));
  bool any = false;  // one that had to wait for a processor may have been read meanwhile
  for (std::size_t i = 1; i < 6; ++i) any |= shows(i, "fed");
  EXPECT_TRUE(any);
}

TEST_F(PublisherTest, WhatTheFeedHasNotIsReadFromTheLog) {
  const auto publisher = start_fed();
  const auto a = remember(0, "a");
  feed(a, "fed");
  ASSERT_TRUE(sent(1));
  remember(0, "b");
  const auto c = remember(0, "c");
  feed(c, "fed");
  ASSERT_TRUE(sent(3));
  EXPECT_EQ(ids(), (std::vector<std::string>{"evt_a_1", "evt_b_1", "evt_c_1"}));
  EXPECT_TRUE(shows(1, "fact b"));
}

TEST_F(PublisherTest, AFrameThatTheFenceDoesNotAdmitIsReadFromTheLog) {
  const auto publisher = start_fed();
  remember(0, "a");
  ASSERT_TRUE(sent(1));
  const auto b = remember(0, "b");
  auto strange = *events::read_frame_at(journal.log(), b);
  v1::Frame frame = *strange.frame;
  frame.set_previous_hash(std::string(32, 'x'));
  frame.mutable_entries(0)->mutable_events(0)->set_event_id("evt_of_nobody");
  strange.frame = std::make_shared<const v1::Frame>(std::move(frame));
  frames(strange);
  ASSERT_TRUE(sent(2));
  EXPECT_EQ(ids(), (std::vector<std::string>{"evt_a_1", "evt_b_1"}));
}

TEST_F(PublisherTest, WhatFailedAfterFeedingIsSentAgain) {
  remember(0, "a");
  const auto publisher = start_fed();
  ASSERT_TRUE(sent(1));
  {
    std::lock_guard lock(topics.mutex);
    topics.send_fails = true;
  }
  feed(remember(0, "b"), "fed");
  feed(remember(0, "c"), "fed");
  ASSERT_TRUE(eventually([&] { return !publisher->problem().empty(); }));
  {
    std::lock_guard lock(topics.mutex);
    topics.send_fails = false;
  }
  feed(remember(0, "d"), "fed");
  ASSERT_TRUE(sent(4));
  EXPECT_EQ(ids(), (std::vector<std::string>{"evt_a_1", "evt_b_1", "evt_c_1", "evt_d_1"}));
}

TEST_F(PublisherTest, AFedPartitionThatLeftAndCameBackGoesOnFromItsPlace) {
  const auto publisher = start_fed();
  feed(remember(0, "a"), "fed");
  ASSERT_TRUE(sent(1));
  ASSERT_TRUE(eventually([&] {
    std::lock_guard lock(topics.mutex);
    return topics.cursors.contains(PartitionId{0});
  }));
  serve({PartitionId{1}});
  feed(remember(0, "b"), "fed");
  feed(remember(1, "c"), "fed");
  ASSERT_TRUE(sent(2));
  EXPECT_EQ(ids().back(), "evt_c_1") << "another node publishes it";
  serve({PartitionId{0}, PartitionId{1}});
  feed(remember(0, "d"), "fed");
  ASSERT_TRUE(sent(4));
  const auto all = ids();
  EXPECT_EQ((std::vector<std::string>{all.begin() + 2, all.end()}),
            (std::vector<std::string>{"evt_b_1", "evt_d_1"}));
}

TEST_F(PublisherTest, PublishesWhatWasThereAndWhatComes) {
  remember(0, "a");
  const auto publisher = start();
  ASSERT_TRUE(sent(1));
  remember(1, "b");
  ASSERT_TRUE(sent(2));
  const auto record = topics.all_sent().front();
  EXPECT_EQ(record.topic, "x.memory.events");
  EXPECT_EQ(record.key, "acme/memory/a");
  const std::map<std::string, std::string> headers(record.headers.begin(), record.headers.end());
  EXPECT_EQ(headers.at("ce_id"), "evt_a_1");
  EXPECT_EQ(headers.at("ce_type"), "memory.remembered");
  EXPECT_EQ(headers.at("ce_source"), "/soma/memory");
  EXPECT_EQ(headers.at("ce_subject"), "acme/memory/a");
  EXPECT_EQ(headers.at("ce_somatenant"), "acme");
  EXPECT_EQ(headers.at("ce_somaposition"), "0/1");
  EXPECT_EQ(headers.at("ce_time"), "2023-11-14T22:13:20.001Z");
  EXPECT_EQ(headers.at("ce_correlationid"), "req-1");
  EXPECT_NE(record.value.find("fact a"), std::string::npos);
}

TEST_F(PublisherTest, GoesOnFromItsPlace) {
  remember(0, "a");
  {
    const auto publisher = start();
    ASSERT_TRUE(sent(1));
  }
  remember(0, "b");
  const auto publisher = start();
  ASSERT_TRUE(sent(2));
  EXPECT_EQ(ids(), (std::vector<std::string>{"evt_a_1", "evt_b_1"}));
}

TEST_F(PublisherTest, WithoutItsPlaceItRepeatsUnderTheSameIds) {
  remember(0, "a");
  topics.store_fails = true;
  {
    const auto publisher = start();
    ASSERT_TRUE(sent(1));
  }
  topics.store_fails = false;
  const auto publisher = start();
  ASSERT_TRUE(sent(2));
  EXPECT_EQ(ids(), (std::vector<std::string>{"evt_a_1", "evt_a_1"}));
}

TEST_F(PublisherTest, AFailedSendIsSentAgainBeforeWhatFollows) {
  topics.send_fails = true;
  remember(0, "a");
  const auto publisher = start();
  ASSERT_TRUE(eventually([&] { return !publisher->problem().empty(); }));
  remember(0, "b");
  {
    std::lock_guard lock(topics.mutex);
    EXPECT_TRUE(topics.cursors.empty()) << "a place before its records";
    topics.send_fails = false;
  }
  ASSERT_TRUE(sent(2));
  EXPECT_EQ(ids(), (std::vector<std::string>{"evt_a_1", "evt_b_1"}));
  EXPECT_TRUE(eventually([&] { return publisher->problem().empty(); }));
}

TEST_F(PublisherTest, SeveralBatchesAreInFlightAndKeepTheirOrder) {
  topics.sends_wait = true;
  remember(0, "a");
  const auto publisher = start();
  ASSERT_TRUE(flying(1));
  remember(0, "b");
  ASSERT_TRUE(flying(2)) << "it waited for the first";
  remember(1, "c");
  ASSERT_TRUE(flying(3));
  {
    std::lock_guard lock(topics.mutex);
    EXPECT_TRUE(topics.sent.empty());
    EXPECT_TRUE(topics.cursors.empty()) << "a place before its records";
    topics.sends_wait = false;
  }
  remember(1, "d");
  ASSERT_TRUE(sent(4));
  EXPECT_EQ(ids(), (std::vector<std::string>{"evt_a_1", "evt_b_1", "evt_c_1", "evt_d_1"}));
}

TEST_F(PublisherTest, APlaceIsStoredOnlyBehindWhatIsAcknowledgedWithoutAGap) {
  topics.first_send_waits = true;
  remember(0, "a");
  {
    const auto publisher = start();
    ASSERT_TRUE(flying(1));
    remember(0, "b");
    remember(1, "c");
    ASSERT_TRUE(sent(2));
  }
  {
    std::lock_guard lock(topics.mutex);
    EXPECT_FALSE(topics.cursors.contains(PartitionId{0})) << "past what nobody acknowledged";
    EXPECT_TRUE(topics.cursors.contains(PartitionId{1}));
    topics.first_send_waits = false;
    topics.sent.clear();
  }
  const auto publisher = start();
  ASSERT_TRUE(sent(2));
  EXPECT_EQ(ids(), (std::vector<std::string>{"evt_a_1", "evt_b_1"}));
}

TEST_F(PublisherTest, WhatIsInFlightIsBounded) {
  topics.sends_wait = true;
  const auto publisher = start();
  std::size_t before = 0;
  for (int i = 0; i < 40 && before < Publisher::kFlyingBatches; ++i) {
    remember(0, "f" + std::to_string(i));
    ASSERT_TRUE(flying(before + 1));
    before = all_flying();
  }
  remember(0, "one more");
  remember(1, "of another partition");
  ASSERT_TRUE(flying(Publisher::kFlyingBatches + 1));
  EXPECT_EQ(all_flying(), Publisher::kFlyingBatches + 1);
  std::lock_guard lock(topics.mutex);
  topics.sends_wait = false;
}

TEST_F(PublisherTest, LeavesPartitionsThatOthersServe) {
  served = {PartitionId{1}};
  remember(0, "a");
  remember(1, "b");
  const auto publisher = start();
  ASSERT_TRUE(sent(1));
  EXPECT_EQ(ids(), std::vector<std::string>{"evt_b_1"});
  {
    std::lock_guard lock(topics.mutex);
    served.push_back(PartitionId{0});
  }
  ASSERT_TRUE(sent(2));
  EXPECT_EQ(ids().back(), "evt_a_1");
}

TEST_F(PublisherTest, VoidFramesAreNotPublished) {
  remember(0, "a");
  v1::Frame frame;  // as a zombie leaves it: it does not follow the last one
  v1::MemoryEvent e;
  e.mutable_memory_remembered();
  journal.event(frame, "acme", "memory", "void", "memory.remembered", e.SerializeAsString());
  frame.set_format(1);
  frame.set_epoch(1);
  frame.set_number(7);
  frame.set_previous_hash(std::string(32, '\0'));
  events::test::append_wait(journal.log(), PartitionId{0}, events::encode_frame(frame));
  remember(0, "b");
  const auto publisher = start();
  ASSERT_TRUE(sent(2));
  EXPECT_EQ(ids(), (std::vector<std::string>{"evt_a_1", "evt_b_1"}));
}

TEST_F(PublisherTest, APlaceOfAnotherJournalIsNotUsed) {
  remember(0, "a");
  topics.cursors[PartitionId{0}] = {
      Offset{2}, "v1 1 1 " + std::string(64, 'a') + " 1 " + std::string(64, 'b')};
  const auto publisher = start();
  ASSERT_TRUE(sent(1));
  EXPECT_EQ(ids(), std::vector<std::string>{"evt_a_1"});
}

TEST(PublisherNote, ReadsBackAsItWasAndRefusesOthers) {
  events::Bookmark mark;
  mark.next = Offset{9};
  mark.fence = events::Fence(Epoch{3}, FrameNumber{4}, std::string(32, '\x5a'));
  mark.last = Offset{8};
  mark.last_hash = std::string(32, '\xa5');
  const std::string note = note_of(mark);
  const auto back = mark_of({Offset{9}, note});
  ASSERT_TRUE(back);
  EXPECT_EQ(note_of(*back), note);
  EXPECT_EQ(back->next, mark.next);
  for (const auto& bad : std::vector<std::string>{
           "", "v1", "v2" + note.substr(2), note.substr(0, note.size() - 2), "v1 1 1 zz 1 zz"})
    EXPECT_FALSE(mark_of({Offset{9}, bad})) << bad;
}

}  // namespace
}  // namespace soma::runtime::integration
