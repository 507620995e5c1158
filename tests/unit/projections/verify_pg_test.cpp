// Proof that rows are the fold of the log: every kind of tampering is found and named.
#include <set>

#include "schemas/base/sha256.h"
#include "tests/unit/projections/pg_fixture.h"

namespace soma::projections::test {

class VerifyTest : public PgTest {
 protected:
  void SetUp() override {
    PgTest::SetUp();
    journal_->sessions("s", 40);
    v1::Frame frame;
    v1::InferenceEvent e;
    auto* d = e.mutable_inference_started()->mutable_decision();
    d->set_decision_id("dec_i");
    d->set_allow(true);
    journal_->event(frame, "acme", "inference", "i1", "inference.started", e.SerializeAsString());
    e.mutable_inference_failed()->mutable_decision()->set_decision_id("dec_no");
    journal_->event(frame, "acme", "inference", "i2", "inference.failed", e.SerializeAsString());
    journal_->append(1, std::move(frame));
    start();
    catch_up();
    expect_faithful();
  }

  // Tampers, and expects exactly one difference.
  Difference after(const std::string& sql) {
    auto changed = direct()->query(sql, {});
    EXPECT_TRUE(changed) << (changed ? "" : changed.error().message);
    auto v = views_->verify({});
    EXPECT_TRUE(v) << (v ? "" : v.error().message);
    if (!v) return {};
    EXPECT_FALSE(v->ok);
    EXPECT_EQ(v->wrong_actors, 1U);
    EXPECT_EQ(v->differences.size(), 1U);
    return v->differences.empty() ? Difference{} : v->differences[0];
  }
};

TEST_F(VerifyTest, NamesAChangedAnswer) {
  const auto d = after(
      "UPDATE session_events SET data = replace(data::text, 'nothing', 'everything')::json WHERE "
      "session_id='s7' AND sequence=4");
  EXPECT_EQ(d.kind, "changed");
  EXPECT_EQ(d.table, "session_events");
  EXPECT_EQ(d.event_id, "evt_s7_4");
  EXPECT_EQ(d.column, "data");
  EXPECT_FALSE(d.position.empty());
}

TEST_F(VerifyTest, NamesASkippedRowAndItsEvent) {
  const auto d = after("DELETE FROM session_events WHERE session_id='s9' AND sequence=2");
  EXPECT_EQ(d.kind, "missing");
  EXPECT_EQ(d.event_id, "evt_s9_2");
}

TEST_F(VerifyTest, NamesAnInventedRow) {
  const auto d = after(
      "INSERT INTO decisions SELECT tenant_id, actor_type, 'nobody', 1, decision_id, action_id, "
      "allow, score, threshold, reasons, time_ms FROM decisions WHERE decision_id='dec_s1'");
  EXPECT_EQ(d.kind, "extra");
  EXPECT_EQ(d.actor_id, "nobody");
}

TEST_F(VerifyTest, NamesADecisionTurnedAround) {
  const auto d = after("UPDATE decisions SET allow = true WHERE decision_id='dec_no'");
  EXPECT_EQ(d.table, "decisions");
  EXPECT_EQ(d.column, "allow");
  EXPECT_EQ(d.actor_type, "inference");
  EXPECT_EQ(d.event_id, "evt_i2_1");
}

TEST_F(VerifyTest, NamesTheLastBitOfARealNumber) {
  const auto d = after("UPDATE decisions SET score = 0.3 WHERE decision_id='dec_s3'");
  EXPECT_EQ(d.column, "score");
}

TEST_F(VerifyTest, NamesAFoldedRow) {
  const auto d = after("UPDATE sessions SET status = 'failed' WHERE session_id='s5'");
  EXPECT_EQ(d.table, "sessions");
  EXPECT_EQ(d.column, "status");
  EXPECT_EQ(d.expected, "completed");
}

TEST_F(VerifyTest, NamesAMissingSession) {
  EXPECT_EQ(after("DELETE FROM sessions WHERE session_id='s5'").kind, "missing");
}

TEST_F(VerifyTest, NamesAChangedUsage) {
  const auto d = after("UPDATE usage SET completion_tokens = 0 WHERE call_id='call_s2'");
  EXPECT_EQ(d.table, "usage");
  EXPECT_EQ(d.column, "completion_tokens");
  EXPECT_EQ(d.event_id, "evt_s2_4");
}

TEST_F(VerifyTest, NamesARowMovedToAnotherTenant) {
  auto db = direct();
  ASSERT_TRUE(db->query(
      "UPDATE session_events SET tenant_id='evil' WHERE session_id='s8' AND sequence=1", {}));
  auto v = views_->verify({});
  ASSERT_TRUE(v);
  EXPECT_FALSE(v->ok);
  EXPECT_EQ(v->wrong_actors, 2U);
}

// What one tenant may be told: its own rows, and how many others are wrong.
TEST_F(VerifyTest, TellsATenantOnlyItsOwn) {
  v1::Frame frame;
  journal_->session(frame, "rival", "theirs", "the plans for Thursday");
  journal_->append(0, std::move(frame));
  catch_up();
  auto db = direct();
  for (const char* sql :
       {"UPDATE session_events SET data = '{\"prompt\":\"planted\"}' WHERE session_id='theirs' AND "
        "sequence=2",
        "DELETE FROM sessions WHERE session_id='s3'", "DELETE FROM sessions WHERE session_id='s4'"})
    ASSERT_TRUE(db->query(sql, {}));
  auto rival = views_->verify("rival"), acme = views_->verify("acme"), none = views_->verify("new"),
       all = views_->verify({});
  ASSERT_TRUE(rival && acme && none && all);
  for (const auto* v : {&*rival, &*acme, &*none, &*all}) {
    EXPECT_FALSE(v->ok);
    EXPECT_EQ(v->wrong_actors, 3U);
  }
  EXPECT_EQ(all->differences.size(), 3U);
  EXPECT_EQ(all->wrong_of_others, 0U);
  ASSERT_EQ(rival->differences.size(), 1U);
  EXPECT_EQ(rival->differences[0].tenant, "rival");
  EXPECT_EQ(rival->wrong_of_others, 2U);
  EXPECT_EQ(acme->differences.size(), 2U);
  EXPECT_EQ(acme->wrong_of_others, 1U);
  for (const auto& d : acme->differences) EXPECT_EQ(d.tenant, "acme");
  EXPECT_TRUE(none->differences.empty());
}

// Many wrong ones of others never take the place of one's own.
TEST_F(VerifyTest, CountsEachWrongActorOnceAndLeavesRoomForTheCallers) {
  journal_->sessions("r", 120, 20, "rival");
  catch_up();
  ASSERT_TRUE(
      direct()->query("UPDATE actor_digests SET low = low # 1 WHERE tenant_id='rival'", {}));
  ASSERT_TRUE(direct()->query("DELETE FROM session_events WHERE tenant_id='rival'", {}));
  ASSERT_TRUE(direct()->query("DELETE FROM sessions WHERE session_id='s39'", {}));
  auto v = views_->verify("acme");
  ASSERT_TRUE(v);
  EXPECT_EQ(v->wrong_actors, 121U);
  EXPECT_EQ(v->wrong_of_others, 120U);
  ASSERT_EQ(v->differences.size(), 1U);
  EXPECT_EQ(v->differences[0].actor_id, "s39");
}

TEST_F(VerifyTest, CutsValuesBetweenCharacters) {
  // Of two texts that are one byte apart the 200th byte splits a character of one.
  for (const std::string id : {"", "x"}) {
    std::string prompt = id;
    for (int i = 0; i < 300; ++i) prompt += "\u00e9";
    v1::Frame frame;
    journal_->session(frame, "acme", "long" + id, prompt);
    journal_->append(0, std::move(frame));
    catch_up();
    const auto d = after(
        "UPDATE session_events SET data = (data::text || ' ')::json WHERE "
        "session_id='long" +
        id + "' AND sequence=2");
    for (const auto& value : {d.expected, d.found}) {
      EXPECT_GE(value.size(), 199U);
      EXPECT_LE(value.size(), 200U);
      EXPECT_TRUE(value.ends_with("\u00e9")) << value;
    }
    ASSERT_TRUE(direct()->query("UPDATE session_events SET data = rtrim(data::text)::json", {}));
  }
}

TEST_F(VerifyTest, FindsAChangedDigest) {
  const auto d = after("UPDATE actor_digests SET low = low # 1 WHERE actor_id='s4'");
  EXPECT_EQ(d.table, "actor_digests");
}

// What a projector that passes over a frame would leave: the cursor further than the rows.
TEST_F(VerifyTest, FindsACursorThatPassedAFrame) {
  auto db = direct();
  const auto kept = value("SELECT next_offset FROM cursor WHERE partition=1");
  v1::Frame frame;
  journal_->session(frame, "acme", "skipped");
  views_.reset();
  const auto at = journal_->append(1, std::move(frame));
  auto reader = events::FrameReader(journal_->log(), PartitionId{1});
  for (auto frames = reader.next(); frames && !frames->empty(); frames = reader.next())
    ;
  const auto& mark = reader.bookmark();
  ASSERT_TRUE(db->query(
      "UPDATE cursor SET next_offset=$1, number=$2, head=decode($3,'hex'), "
      "last_offset=$4, last_hash=decode($5,'hex') WHERE partition=1",
      {std::to_string(mark.next.value), std::to_string(mark.fence.last_number().value),
       soma::hex(mark.fence.head()), std::to_string(mark.last.value), soma::hex(mark.last_hash)}));
  EXPECT_NE(value("SELECT next_offset FROM cursor WHERE partition=1"), kept);
  start();
  auto v = views_->verify({});
  ASSERT_TRUE(v) << v.error().message;
  EXPECT_FALSE(v->ok);
  EXPECT_EQ(v->wrong_actors, 1U);
  std::set<std::string> events;
  for (const auto& d : v->differences) {
    EXPECT_EQ(d.kind, "missing");
    EXPECT_EQ(d.actor_id, "skipped");
    EXPECT_EQ(d.position, d.sequence > 0 ? to_string(at) : "");
    events.insert(d.event_id);
  }
  EXPECT_TRUE(events.contains("evt_skipped_1") && events.contains("evt_skipped_6"));
  EXPECT_TRUE(views_->rebuild());
  expect_faithful();
}

}  // namespace soma::projections::test
