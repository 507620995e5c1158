// What events mean for tables, without a database.
#include "projections/views/rows.h"

#include <google/protobuf/util/json_util.h>
#include <gtest/gtest.h>

#include "projections/views/json.h"
#include "soma/v1/session.pb.h"

namespace soma::projections {

namespace {

std::string json_of(const google::protobuf::Message& m) {
  std::string out;
  append_json(out, m);
  return out;
}

// protobuf's own printer and ours read back to the same message.
void expect_same(const google::protobuf::Message& m) {
  const std::string ours = json_of(m);
  std::unique_ptr<google::protobuf::Message> back(m.New());
  const auto status = google::protobuf::util::JsonStringToMessage(ours, back.get());
  EXPECT_TRUE(status.ok()) << status.ToString() << "\n" << ours;
  EXPECT_EQ(back->SerializeAsString(), m.SerializeAsString()) << ours;
}

TEST(ProjectionJson, ReadsBackAsTheSameMessage) {
  v1::SessionEvent e;
  auto* s = e.mutable_session_started();
  s->set_user("q\"uo\\te\n\t\x01 \xC3\xA9 \xF0\x9F\x98\x80");
  (*s->mutable_metadata())["only"] = "x";
  s->set_at_ms(-9'000'000'000'000'000'000);
  expect_same(e);
  auto* d = e.mutable_policy_decided()->mutable_decision();
  d->set_score(0.1 + 0.2);
  d->set_threshold(std::numeric_limits<double>::infinity());
  d->add_reasons("");
  d->add_reasons("b");
  d->set_settings_version(18'446'744'073'709'551'615U);
  expect_same(e);
  for (const std::string bytes : {"", "a", "ab", "abc", "\xff\xfe\xfd\xfc"}) {
    v1::EffectOutcome o;
    o.set_result(bytes);
    expect_same(o);
  }
  auto* a = e.mutable_model_answered()->mutable_answer();
  a->add_chunk_bytes(3);
  a->add_chunk_bytes(5);
  expect_same(e);
}

TEST(ProjectionJson, NulBecomesTheReplacementCharacterAndABackslashStays) {
  std::string out, scratch;
  append_json_string(out, std::string_view("a\0\\u0000", 8));
  EXPECT_EQ(out, "\"a\xEF\xBF\xBD\\\\u0000\"");
  EXPECT_EQ(storable(std::string_view("\0x", 2), scratch), "\xEF\xBF\xBDx");
}

TEST(ProjectionDigest, DependsOnEveryByteAndOnWhereFieldsEnd) {
  const auto d = [](std::vector<std::string_view> fields) {
    return digest_of(TableId::kUsage, fields);
  };
  EXPECT_EQ(d({"a", "b"}), d({"a", "b"}));
  EXPECT_FALSE(d({"a", "b"}) == d({"ab", ""}));
  EXPECT_FALSE(d({"a", "b"}) == d({"b", "a"}));
  EXPECT_FALSE(digest_of(TableId::kRejected, {"a", "b"}) == d({"a", "b"}));
  // Columns 7 and 8 of decisions are numbers: 1e-07 and 1e-7 are the same one.
  EXPECT_EQ(digest_of(TableId::kDecisions, {"", "", "", "", "", "", "", "1e-07"}),
            digest_of(TableId::kDecisions, {"", "", "", "", "", "", "", "1e-7"}));
}

TEST(SessionChanges, LaterOnesWinAndTokensAddUp) {
  SessionChange all, later;
  all.status = "accepted";
  all.user = "alice";
  all.prompt_tokens = 3;
  later.status = "running";
  later.turns = 1;
  later.prompt_tokens = 4;
  later.updated_ms = 9;
  all.then(later);
  EXPECT_EQ(session_fields(all),
            (std::vector<std::string>{"alice", "running", "", "0", "9", "1", "", "", "7", "0"}));
}

}  // namespace

}  // namespace soma::projections
