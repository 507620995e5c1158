// What verification must find: planted in a journal that a real host wrote.
#include "runtime/verify/verify.h"

#include "runtime/verify/journal.h"
#include "tests/unit/host/fixture.h"

namespace soma::runtime {
namespace {

// A log whose records a test may change: as the embedded engine reads, without its checksums.
class OpenLog final : public events::Log {
 public:
  explicit OpenLog(const events::Log& from) {
    for (std::uint32_t p = 0; p < from.partition_count(); ++p) {
      auto& out = records.emplace_back();
      for (auto more = from.read(PartitionId{p}, {}, SIZE_MAX); more && !more->empty();
           more = from.read(PartitionId{p}, Offset{out.size()}, SIZE_MAX))
        for (auto& r : *more) out.push_back(r.bytes);
    }
  }
  std::uint32_t partition_count() const override {
    return static_cast<std::uint32_t>(records.size());
  }
  void append(PartitionId, std::string, OnReport) override {}
  Result<std::vector<events::Record>> read(PartitionId p, Offset from, std::size_t) const override {
    std::vector<events::Record> out;
    for (std::size_t i = from.value; i < records[p.value].size(); ++i)
      out.push_back({Offset{i}, records[p.value][i]});
    return out;
  }
  Offset end(PartitionId p) const override { return Offset{records[p.value].size()}; }
  std::uint64_t follow(std::function<void(PartitionId)>) override { return 0; }
  void unfollow(std::uint64_t) override {}
  Status health() const override { return {}; }
  std::vector<std::vector<std::string>> records;
};

class Verify : public HostFixture {
 protected:
  void SetUp() override {
    HostFixture::SetUp();
    for (int i = 0; i < 20; ++i)
      ASSERT_TRUE(add("a" + std::to_string(i % 3), i, "k" + std::to_string(i)));
    ASSERT_TRUE(host_->drain(10'000));
    where_ = partition_of(counter("a0"), log_->partition_count());
    copy_ = std::make_unique<OpenLog>(*log_);
    snapshots_ = store_.get();
  }
  VerifyReport verify(bool deep = false) {
    VerifyOptions o;
    o.decide_again = deep;
    o.snapshots = snapshots_;
    return verify_journal(*copy_, *catalog_, o);
  }
  // Changes the first record that has entries, from the back when `last`.
  Offset change(const std::function<void(v1::Frame&)>& how, bool last = false) {
    auto& records = copy_->records[where_.value];
    for (std::size_t n = 0; n < records.size(); ++n) {
      const std::size_t i = last ? records.size() - 1 - n : n;
      v1::Frame frame;
      EXPECT_TRUE(frame.ParseFromString(records[i]));
      if (frame.entries_size() == 0) continue;
      how(frame);
      records[i] = frame.SerializeAsString();
      return Offset{i};
    }
    ADD_FAILURE() << "no record with entries";
    return {};
  }
  PartitionId where_;
  std::unique_ptr<OpenLog> copy_;
  const StateStore* snapshots_ = nullptr;
};

TEST_F(Verify, AnHonestJournalHasNoFinding) {
  const auto report = verify(true);
  EXPECT_TRUE(report.findings.empty()) << report.findings[0].what;
  EXPECT_EQ(report.events, 20u);
  EXPECT_EQ(report.actors, 3u);
  EXPECT_EQ(report.snapshots, 3u);
  EXPECT_EQ(report.voided, 0u);
}

TEST_F(Verify, AChangedRecordIsNamedByTheNextOnesHash) {
  const Offset at = change([](v1::Frame& f) { f.set_time_ms(f.time_ms() + 1); });
  const auto report = verify();
  ASSERT_EQ(report.findings.size(), 1u);
  EXPECT_EQ(report.findings[0].invariant, "I13");
  EXPECT_EQ(report.findings[0].at, (Position{where_, at}));
}

TEST_F(Verify, AChangedLastRecordIsFoundByTheCheckpoint) {
  change([](v1::Frame& f) { f.set_time_ms(f.time_ms() + 1); }, true);
  const auto report = verify();
  ASSERT_EQ(report.findings.size(), 1u);
  EXPECT_EQ(report.findings[0].invariant, "I9");
}

TEST_F(Verify, ACutTailIsFoundByTheCheckpoint) {
  copy_->records[where_.value].pop_back();
  const auto report = verify();
  ASSERT_EQ(report.findings.size(), 1u);
  EXPECT_EQ(report.findings[0].invariant, "I9");
}

TEST_F(Verify, ASwapAndADroppedRecordBreakTheOrder) {
  auto& records = copy_->records[where_.value];
  ASSERT_GT(records.size(), 3u);
  auto whole = records;
  std::swap(records[1], records[2]);
  EXPECT_EQ(verify().findings.size(), 1u);
  records = whole;
  records.erase(records.begin() + 1);
  EXPECT_EQ(verify().findings.size(), 1u);
}

TEST_F(Verify, ASnapshotThatIsNotTheFoldIsFound) {
  StateStore::Batch batch;
  auto snapshot = store_->load(where_, counter("a0"));
  ASSERT_TRUE(snapshot);
  v1::CounterState lie;
  lie.set_value(4711);
  snapshot->state = lie.SerializeAsString();
  batch.snapshots.push_back(*snapshot);
  ASSERT_TRUE(store_->write(where_, batch));
  const auto report = verify();
  ASSERT_EQ(report.findings.size(), 1u);
  EXPECT_EQ(report.findings[0].invariant, "I8");
  EXPECT_NE(report.findings[0].what.find("demo/counter/a0"), std::string::npos);
}

TEST_F(Verify, ADecisionThatComesOutOtherwiseIsFoundOnlyDeep) {
  // The same in one record, so that no hash tells: the command and not its event.
  copy_->records[where_.value].resize(1);
  v1::Frame claim;
  ASSERT_TRUE(claim.ParseFromString(copy_->records[where_.value][0]));
  auto source = log_->read(where_, Offset{1}, 1);
  v1::Frame frame;
  ASSERT_TRUE(source && frame.ParseFromString(source->front().bytes));
  v1::CounterCommand other;
  other.mutable_add()->set_amount(99);
  frame.mutable_entries(0)->set_command(other.SerializeAsString());
  copy_->records[where_.value].push_back(frame.SerializeAsString());
  snapshots_ = nullptr;
  EXPECT_TRUE(verify(false).findings.empty());
  const auto report = verify(true);
  ASSERT_EQ(report.findings.size(), 1u);
  EXPECT_EQ(report.findings[0].invariant, "I14");
}

TEST_F(Verify, TouchedActorsMustBeThoseOfTheEntries) {
  copy_->records[where_.value].resize(2);
  v1::Frame frame;
  ASSERT_TRUE(frame.ParseFromString(copy_->records[where_.value][1]));
  frame.clear_touched();
  copy_->records[where_.value][1] = frame.SerializeAsString();
  snapshots_ = nullptr;
  const auto report = verify();
  ASSERT_EQ(report.findings.size(), 1u);
  EXPECT_EQ(report.findings[0].invariant, "I8");
}

TEST_F(Verify, TheJournalGivesFramesByPlace) {
  Journal journal(*copy_);
  auto summary = journal.summary();
  ASSERT_TRUE(summary);
  EXPECT_EQ((*summary)[where_.value].records, copy_->records[where_.value].size());
  auto frame = journal.at({where_, Offset{1}});
  ASSERT_TRUE(frame);
  EXPECT_EQ(frame->position, (Position{where_, Offset{1}}));
  EXPECT_EQ(journal.at({where_, Offset{1000}}).error().code, Code::kNotFound);
  EXPECT_EQ(journal.at({PartitionId{1000}, {}}).error().code, Code::kNotFound);
  const auto all = [](const events::ValidFrame&) { return true; };
  auto newest = journal.newest(2, all);
  ASSERT_TRUE(newest);
  EXPECT_EQ(newest->size(), 2u);
  Offset next;
  auto page = journal.page(where_, Offset{1}, 2, all, next);
  ASSERT_TRUE(page);
  EXPECT_EQ(page->size(), 2u);
  EXPECT_EQ(next, Offset{3});
}

}  // namespace
}  // namespace soma::runtime
