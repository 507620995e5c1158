// The snapshot store alone: what it keeps, what it refuses, what damage does.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "runtime/snapshots/codec.h"
#include "runtime/snapshots/memory_store.h"
#include "runtime/snapshots/rocks_store.h"
#include "soma/v1/store.pb.h"
#include "tests/unit/events/log_fixture.h"

namespace soma::runtime {

namespace {

using events::test::read_bytes;
using events::test::TempFolder;
using events::test::write_bytes;
namespace fs = std::filesystem;

const PartitionId kZero{0}, kOne{1};

ActorKey actor(const std::string& id, const std::string& tenant = "acme") {
  return {tenant, "counter", id, {}};
}
StateStore::Snapshot snapshot(const std::string& id, const std::string& state, bool pending = false,
                              const std::string& tenant = "acme") {
  return {actor(id, tenant), Sequence{3}, Offset{7}, "schema", state, pending};
}
StateStore::Checkpoint checkpoint(std::uint64_t next) {
  return {Offset{next}, Epoch{2},         FrameNumber{5},      std::string(32, 'h'),
          "extra",      Offset{next - 1}, std::string(32, 'l')};
}
StateStore::DedupeRow dedupe(const std::string& id, std::int64_t at_ms) {
  return {id, "hash", actor("a"), {kZero, Offset{7}}, Sequence{3}, "reply", at_ms};
}

struct RocksTest : ::testing::Test {
  void open() {
    auto opened = open_rocks_store(folder());
    ASSERT_TRUE(opened) << opened.error().message;
    rocks = std::move(*opened);
    store = rocks.store.get();
  }
  void SetUp() override { open(); }
  void close() { rocks = {}; }
  std::string folder() const { return (temp.path() / "snapshots").string(); }
  // One byte of each table file.
  void damage_files() {
    int damaged = 0;
    for (const auto& entry : fs::directory_iterator(folder())) {
      if (entry.path().extension() != ".sst") continue;
      auto bytes = read_bytes(entry.path());
      for (std::size_t i = 20; i < bytes.size() / 2; i += 40) bytes[i] ^= 1;
      write_bytes(entry.path(), bytes);
      ++damaged;
    }
    ASSERT_GT(damaged, 0);
  }
  TempFolder temp;
  RocksStore rocks;
  StateStore* store = nullptr;
};

TEST(SnapshotCodec, AnyFlippedBitOfAnyRowReadsAsAbsent) {
  for (const std::string& good :
       {encode_snapshot(snapshot("a", "state")), encode_checkpoint(checkpoint(9))})
    for (std::size_t bit = 0; bit < good.size() * 8; ++bit) {
      std::string bad = good;
      bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << bit % 8));
      EXPECT_FALSE(decode_snapshot(bad)) << bit;
      EXPECT_FALSE(decode_checkpoint(bad)) << bit;
    }
  const std::string good = encode_snapshot(snapshot("a", "state"));
  for (std::size_t size = 0; size < good.size(); ++size)
    EXPECT_FALSE(decode_snapshot(good.substr(0, size)));
}

TEST_F(RocksTest, GivesBackWhatItWasGiven) {
  ASSERT_TRUE(store->write(
      kZero, {{snapshot("a", "one", true), snapshot("b", "two")},
              {dedupe("acme:k", 5)},
              {{actor("a"), Sequence{1}, Offset{2}}, {actor("a"), Sequence{3}, Offset{7}}},
              checkpoint(8)}));
  close();
  open();
  EXPECT_FALSE(rocks.recreated);
  auto s = store->load(kZero, actor("a"));
  ASSERT_TRUE(s);
  EXPECT_EQ(s->state, "one");
  EXPECT_EQ(s->sequence, Sequence{3});
  EXPECT_EQ(store->checkpoint(kZero)->last_hash, std::string(32, 'l'));
  EXPECT_EQ(store->checkpoint(kZero)->last, Offset{7});
  EXPECT_EQ(store->dedupe(kZero, "acme:k")->reply, "reply");
  EXPECT_EQ(store->with_pending(kZero), std::vector{actor("a")});
  ASSERT_EQ(store->history(kZero, actor("a"), Sequence{0}, 10).size(), 2U);
  ASSERT_EQ(store->history(kZero, actor("a"), Sequence{1}, 10).size(), 2U);
  ASSERT_EQ(store->history(kZero, actor("a"), Sequence{2}, 10).size(), 1U);
}

TEST_F(RocksTest, KeepsPartitionsAndTenantsApart) {
  ASSERT_TRUE(store->write(kZero, {{snapshot("a", "acme's")}, {}, {}, checkpoint(1)}));
  ASSERT_TRUE(
      store->write(kOne, {{snapshot("a", "evil's", false, "evil")}, {}, {}, checkpoint(1)}));
  EXPECT_FALSE(store->load(kOne, actor("a")));
  EXPECT_FALSE(store->load(kZero, actor("a", "evil")));
  EXPECT_EQ(store->list(kOne, "evil", "counter", nullptr, 10).size(), 1U);
  EXPECT_EQ(store->list(kOne, "evil", "session", nullptr, 10).size(), 0U);
  EXPECT_EQ(store->list(kZero, "evil", "counter", nullptr, 10).size(), 0U);
}

TEST_F(RocksTest, DropsOnePartitionAlone) {
  for (const PartitionId p : {kZero, kOne})
    ASSERT_TRUE(store->write(p, {{snapshot("a", "x", true)},
                                 {dedupe("acme:k", 5)},
                                 {{actor("a"), Sequence{1}, Offset{2}}},
                                 checkpoint(8)}));
  ASSERT_TRUE(store->drop(kZero));
  EXPECT_FALSE(store->checkpoint(kZero));
  EXPECT_FALSE(store->load(kZero, actor("a")));
  EXPECT_FALSE(store->dedupe(kZero, "acme:k"));
  EXPECT_TRUE(store->with_pending(kZero).empty());
  EXPECT_TRUE(store->history(kZero, actor("a"), Sequence{0}, 10).empty());
  EXPECT_TRUE(store->checkpoint(kOne));
  EXPECT_TRUE(store->load(kOne, actor("a")));
  EXPECT_EQ(store->generation(), 0U);
}

TEST_F(RocksTest, DedupeRowsLeaveWhenTheirTimeIsOver) {
  constexpr std::int64_t kHour = 3'600'000;
  StateStore::Batch batch;
  for (int i = 0; i < 1000; ++i) batch.dedupe.push_back(dedupe("old" + std::to_string(i), kHour));
  batch.dedupe.push_back(dedupe("young", 2 * kHour));
  batch.snapshots.push_back(snapshot("a", "stays"));
  ASSERT_TRUE(store->write(kZero, batch));
  EXPECT_TRUE(store->dedupe(kZero, "old1"));
  store->expire_dedupe(2 * kHour);
  EXPECT_FALSE(store->dedupe(kZero, "old1"));
  EXPECT_TRUE(store->dedupe(kZero, "young"));
  rocks.compact();
  store->expire_dedupe(0);  // what shows again was only hidden
  EXPECT_FALSE(store->dedupe(kZero, "old1"));
  EXPECT_TRUE(store->dedupe(kZero, "young"));
  EXPECT_TRUE(store->load(kZero, actor("a")));
}

TEST_F(RocksTest, AStoreThatCannotBeOpenedBeginsAnew) {
  ASSERT_TRUE(store->write(kZero, {{snapshot("a", "x")}, {}, {}, checkpoint(1)}));
  close();
  write_bytes(folder() + "/CURRENT", "rubbish");
  open();
  EXPECT_TRUE(rocks.recreated);
  EXPECT_FALSE(store->checkpoint(kZero));
  EXPECT_TRUE(store->write(kZero, {{snapshot("a", "y")}, {}, {}, checkpoint(1)}));
  EXPECT_TRUE(store->load(kZero, actor("a")));
}

TEST_F(RocksTest, DamageThatAReadMeetsEmptiesTheStoreAndSaysSo) {
  StateStore::Batch batch;
  for (int i = 0; i < 2000; ++i) {
    batch.snapshots.push_back(snapshot("a" + std::to_string(i), std::string(200, 'x')));
    batch.history.push_back({actor("a" + std::to_string(i)), Sequence{1}, Offset{2}});
  }
  batch.checkpoint = checkpoint(1);
  ASSERT_TRUE(store->write(kZero, batch));
  rocks.compact();
  close();
  damage_files();
  open();  // opens well: data blocks are read when they are wanted
  const auto before = store->generation();
  for (int i = 0; i < 2000 && store->generation() == before; ++i) {
    auto s = store->load(kZero, actor("a" + std::to_string(i)));
    EXPECT_TRUE(!s || s->state == std::string(200, 'x'));
  }
  EXPECT_GT(store->generation(), before);
  EXPECT_FALSE(store->load(kZero, actor("a0")));
  // Whoever still writes what he decided on the old one is refused.
  batch.generation = before;
  EXPECT_EQ(store->write(kZero, batch).error().code, Code::kUnavailable);
  batch.generation = store->generation();
  EXPECT_TRUE(store->write(kZero, batch));
  EXPECT_TRUE(store->load(kZero, actor("a0")));
}

std::uint64_t bytes_read() {  // by this process, of the page cache too
  std::ifstream io("/proc/self/io");
  std::string name;
  std::uint64_t value = 0;
  io >> name >> value;
  return name == "rchar:" ? value : 0;
}

TEST_F(RocksTest, ALookUpReadsAFewBlocksHoweverMuchThereIs) {
  constexpr int kActors = 300'000, kLookUps = 2'000;
  const auto id = [](int i) { return "actor-" + std::to_string(i); };
  for (int i = 0; i < kActors;) {
    StateStore::Batch batch;
    for (const int end = i + 10'000; i < end; ++i) {
      batch.snapshots.push_back(snapshot(id(i), "state " + id(i) + std::string(100, 'x')));
      batch.history.push_back({actor(id(i)), Sequence{1}, Offset{2}});
    }
    ASSERT_TRUE(store->write(kZero, batch));
  }
  rocks.compact();
  const auto before = bytes_read();
  for (int n = 0, i = 0; n < kLookUps; ++n, i = (i + 104'729) % kActors) {
    EXPECT_TRUE(store->load(kZero, actor(id(i))));
    EXPECT_TRUE(store->begins(kZero, actor(id(i)), Sequence{1}));
    EXPECT_FALSE(store->begins(kZero, actor(id(i)), Sequence{4}));
  }
  // Filters and indexes in pieces, of which a look-up needs one: 1.4 KB. Whole ones were read anew
  // nearly each time, 1.3 MB for these three.
  EXPECT_LT((bytes_read() - before) / kLookUps, 12'000U);
}

}  // namespace

}  // namespace soma::runtime
