// Replays in parallel and in parts: the same as one in a piece; the first divergence of each actor.
#include "runtime/verify/replay.h"

#include "tests/unit/host/fixture.h"

namespace soma::runtime {
namespace {

// Counters of this build count one more than they are told.
class OffByOne final : public actors::ActorType {
 public:
  explicit OffByOne(const actors::ActorType& real) : real_(real) {}
  std::string_view name() const override { return real_.name(); }
  std::unique_ptr<actors::Message> new_state() const override { return real_.new_state(); }
  std::unique_ptr<actors::Message> new_command() const override { return real_.new_command(); }
  std::unique_ptr<actors::Message> new_event() const override { return real_.new_event(); }
  std::unique_ptr<actors::Message> new_reply() const override { return real_.new_reply(); }
  Result<actors::ErasedDecision> decide(const ActorKey& self, const actors::Message& state,
                                        const actors::Message& command,
                                        const v1::Context& context) const override {
    auto changed = static_cast<const v1::CounterCommand&>(command);
    if (changed.has_add() && changed.add().amount() >= 20)
      changed.mutable_add()->set_amount(changed.add().amount() + 1);
    return real_.decide(self, state, changed, context);
  }
  void evolve(actors::Message& s, const actors::Message& e) const override { real_.evolve(s, e); }
  bool has_effects() const override { return real_.has_effects(); }
  std::vector<actors::Effect> effects(const ActorKey& self,
                                      const actors::Message& s) const override {
    return real_.effects(self, s);
  }
  std::string event_type(const actors::Message& e) const override { return real_.event_type(e); }
  std::string outcome_command(const v1::EffectOutcome& o) const override {
    return real_.outcome_command(o);
  }
  std::optional<std::string> resolve_command(const v1::ResolveEffect& r) const override {
    return real_.resolve_command(r);
  }
  const std::string& schema_hash() const override { return real_.schema_hash(); }

 private:
  const actors::ActorType& real_;
};

class ReplayTest : public HostFixture {
 protected:
  void SetUp() override {
    HostFixture::SetUp();
    for (int i = 0; i < 40; ++i)
      ASSERT_TRUE(add("a" + std::to_string(i % 5), i, "k" + std::to_string(i)));
  }
  Result<ReplayReport> replay(ReplayOptions o = {}) { return replay_journal(*log_, *catalog_, o); }
  static std::uint64_t commands(const ReplayReport& r) {
    std::uint64_t n = 0;
    for (const auto& p : r.partitions) n += p.commands;
    return n;
  }
  // One more command of a counter, without events, as `change` makes it.
  void plant(const std::string& id, const std::function<void(v1::Entry&)>& change) {
    const PartitionId partition = partition_of(counter(id), log_->partition_count());
    events::FrameReader reader(*log_, partition);
    for (auto batch = reader.next(); batch && !batch->empty();) batch = reader.next();
    v1::Claim claim;
    claim.set_node_id("planter");
    auto writer = events::FrameWriter::claim(*log_, reader, claim, 1, [](const auto&) {});
    ASSERT_TRUE(writer) << writer.error().message;
    v1::Frame frame;
    auto* entry = frame.add_entries();
    *entry->mutable_actor() = actors::to_ref(counter(id));
    entry->mutable_context()->set_command_id("planted");
    *frame.add_touched()->mutable_actor() = entry->actor();
    change(*entry);
    std::promise<bool> valid;
    (*writer)->append(std::move(frame), [&](const events::FrameWriter::Outcome& o) {
      valid.set_value(static_cast<bool>(o.valid));
    });
    ASSERT_TRUE(valid.get_future().get());
  }
  std::unique_ptr<actors::Catalog> changed_build() {
    std::vector<std::unique_ptr<actors::ActorType>> types;
    types.push_back(std::make_unique<OffByOne>(*catalog_->find("counter")));
    return std::make_unique<actors::Catalog>(std::move(types));
  }
};

TEST_F(ReplayTest, EveryNumberOfJobsSeesTheSame) {
  for (const unsigned jobs : {1u, 2u, 7u, 200u}) {
    ReplayOptions o;
    o.jobs = jobs;
    auto report = replay(o);
    ASSERT_TRUE(report) << report.error().message;
    EXPECT_EQ(commands(*report), 40u);
    EXPECT_EQ(report->actors, 5u);
    EXPECT_FALSE(report->stopped);
    for (const auto& p : report->partitions) EXPECT_TRUE(p.divergences.empty());
  }
}

TEST_F(ReplayTest, CountsOnlyWhatIsWanted) {
  ReplayOptions o;
  o.wanted = [](const ActorKey& key, Position, std::int64_t) { return key.id == "a1"; };
  auto report = replay(o);
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_EQ(commands(*report), 8u);
  o.wanted = [](const ActorKey& key, Position, std::int64_t) { return key.id == "typo"; };
  report = replay(o);
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_EQ(commands(*report), 0u);
}

TEST_F(ReplayTest, CountsErasedAndParkedApart) {
  host_.reset();
  // A parked command; then one that lacks personal data, and one more that rests on it.
  plant("parked", [](v1::Entry& e) { e.set_parked("could not"); });
  plant("erased", [](v1::Entry& e) { e.add_sealed()->add_key_ids("gone"); });
  plant("erased", [](v1::Entry&) {});
  auto report = replay();
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_EQ(commands(*report), 40u);
  std::uint64_t erased = 0, parked = 0;
  for (const auto& p : report->partitions) {
    erased += p.erased;
    parked += p.parked;
    EXPECT_TRUE(p.divergences.empty());
  }
  EXPECT_EQ(erased, 2u);
  EXPECT_EQ(parked, 1u);
}

TEST_F(ReplayTest, NamesTheFirstDivergenceOfEachActor) {
  const auto other = changed_build();
  auto report = replay_journal(*log_, *other, {});
  ASSERT_TRUE(report) << report.error().message;
  std::size_t actors = 0;
  for (const auto& p : report->partitions)
    for (const auto& [key, d] : p.divergences) {
      ++actors;
      EXPECT_EQ(d.sequence, 4u) << to_string(key);  // amounts of 20 and more come fifth
      EXPECT_EQ(d.commands, 4u);
      EXPECT_NE(d.what.find("another event counter.added"), std::string::npos) << d.what;
    }
  EXPECT_EQ(actors, 5u);
}

TEST_F(ReplayTest, GoesOnWhereItStopped) {
  auto first = replay();
  ASSERT_TRUE(first);
  for (int i = 40; i < 50; ++i)
    ASSERT_TRUE(add("a" + std::to_string(i % 5), i, "k" + std::to_string(i)));
  const auto other = changed_build();
  ReplayOptions o;
  o.from = first->partitions;
  auto rest = replay_journal(*log_, *other, o);
  ASSERT_TRUE(rest) << rest.error().message;
  EXPECT_EQ(commands(*rest), 50u);
  for (const auto& p : rest->partitions)
    for (const auto& [key, d] : p.divergences) {
      EXPECT_EQ(d.sequence, 8u) << to_string(key);  // what the first run had decided is not again
      EXPECT_EQ(d.commands, 2u);
    }
}

TEST_F(ReplayTest, StopsWhenTold) {
  ReplayOptions o;
  int asked = 0;
  o.stopped = [&] { return ++asked > 3; };  // one partition's batch is over, another's is to come
  auto report = replay(o);
  ASSERT_TRUE(report);
  EXPECT_TRUE(report->stopped);
  EXPECT_GT(commands(*report), 0u);
  EXPECT_LT(commands(*report), 40u);
  o = {};
  o.from = report->partitions;
  auto rest = replay(o);
  ASSERT_TRUE(rest) << rest.error().message;
  EXPECT_EQ(commands(*rest), 40u);
}

TEST_F(ReplayTest, RefusesACheckpointOfAnotherJournal) {
  auto report = replay();
  ASSERT_TRUE(report);
  ReplayOptions o;
  o.from = report->partitions;
  for (auto& p : o.from)
    if (!p.head.empty()) p.head[0] = static_cast<char>(p.head[0] ^ 1);
  EXPECT_EQ(replay(o).error().code, Code::kConflict);
  o.from = report->partitions;
  o.from.pop_back();
  EXPECT_EQ(replay(o).error().code, Code::kConflict);
  o.from = report->partitions;
  for (auto& p : o.from) p.next = Offset{p.next.value + 100};
  EXPECT_EQ(replay(o).error().code, Code::kConflict);
}

}  // namespace
}  // namespace soma::runtime
