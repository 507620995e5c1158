// SQL over a journal that a real host wrote: what it shows, and what it refuses.
#include "runtime/query/sql.h"

#include "tests/unit/host/fixture.h"

namespace soma::runtime::query {
namespace {

namespace json = boost::json;

class Sql : public HostFixture {
 protected:
  void SetUp() override {
    HostFixture::SetUp();
    for (int i = 0; i < 30; ++i)
      ASSERT_TRUE(add("a" + std::to_string(i % 3), i, "k" + std::to_string(i)));
  }
  Result<Answer> ask(const std::string& sql, Limits limits = {}, const char* tenant = nullptr,
                     const std::function<bool()>& stop = {}) {
    const std::string name = tenant ? tenant : "";
    return run_sql(*log_, *catalog_, tenant ? &name : nullptr, sql, limits, stop);
  }
  json::array rows(const std::string& sql, const char* tenant = nullptr) {
    auto answer = ask(sql, {}, tenant);
    EXPECT_TRUE(answer) << (answer ? "" : answer.error().message);
    return answer ? answer->rows : json::array{};
  }
  std::int64_t number(const std::string& sql, const char* tenant = nullptr) {
    const auto all = rows(sql, tenant);
    return all.empty() ? -1 : all[0].at("n").as_int64();
  }
  Error refused(const std::string& sql, Limits limits = {}) {
    auto answer = ask(sql, limits);
    EXPECT_FALSE(answer) << sql;
    return answer ? Error{} : answer.error();
  }
};

TEST_F(Sql, ReadsEventsAndActorsAsTheyAreRecorded) {
  EXPECT_EQ(number("select count(*) as n from events where type = 'counter.added'"), 30);
  EXPECT_EQ(number("select cast(sum(json_extract(data, '$.amount')) as integer) as n from events"),
            435);
  EXPECT_EQ(number("select events as n from actors where id = 'a1'"), 10);
  EXPECT_EQ(number("select max(sequence) as n from events where actor_id = 'a2'"), 10);
  const auto p = partition_of(counter("a0"), log_->partition_count()).value;
  EXPECT_EQ(number("select count(*) as n from actors where id = 'a0' and partition = " +
                   std::to_string(p)),
            1);
  EXPECT_EQ(number("select count(*) as n from actors where id = 'a0' and partition <> " +
                   std::to_string(p)),
            0);
  EXPECT_EQ(number("select count(*) as n from events where partition = 4000"), 0);
  EXPECT_EQ(number("select count(*) as n from events e join actors a on a.actor = e.actor"), 30);
}

TEST_F(Sql, UnknownEffectsAreRows) {
  v1::CounterCommand c;
  c.mutable_call_out()->set_call_id("lost");
  runner_.silent = true;
  ASSERT_TRUE(submit(counter("a0"), c, "c"));
  EXPECT_EQ(rows("select state from effects")[0].at("state"), "pending");
  while (runner_.count("lost") == 0) std::this_thread::yield();
  restart();
  eventually("a0", [](const auto& s) { return s.calls_size() == 0; });
  const auto found = rows("select effect_id, state, class from effects");
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].at("state"), "unknown");
  EXPECT_EQ(found[0].at("class"), "at_most_once");
}

TEST_F(Sql, ATenantSeesItsOwnRowsAlone) {
  v1::CounterCommand c;
  c.mutable_add()->set_amount(1);
  ASSERT_TRUE(submit({"rival", "counter", "a0", {}}, c, "r"));
  EXPECT_EQ(number("select count(*) as n from events"), 31);
  EXPECT_EQ(number("select count(*) as n from events", "rival"), 1);
  EXPECT_EQ(number("select count(*) as n from actors", "demo"), 3);
  EXPECT_EQ(number("select count(*) as n from events where tenant = 'demo'", "rival"), 0);
}

TEST_F(Sql, OnlyReads) {
  for (const char* sql :
       {"create table t(x)", "delete from events", "insert into events(type) values('x')",
        "update events set type = 'x'", "attach '/tmp/soma-no' as a", "pragma writable_schema = 1",
        "select * from pragma_database_list", "vacuum into '/tmp/soma-no'", "drop table events",
        "begin", "select load_extension('x')"})
    EXPECT_EQ(code_name(refused(sql).code), code_name(Code::kInvalidArgument)) << sql;
  EXPECT_FALSE(std::filesystem::exists("/tmp/soma-no"));
}

TEST_F(Sql, SaysWhereAQueryIsWrong) {
  EXPECT_NE(refused("select typ from events").message.find("column 8"), std::string::npos)
      << refused("select typ from events").message;
  EXPECT_NE(refused("select 1;\nselect 2").message.find("line 2, column 1"), std::string::npos);
  EXPECT_EQ(refused("").code, Code::kInvalidArgument);
  EXPECT_EQ(refused("-- nothing").code, Code::kInvalidArgument);
  EXPECT_EQ(refused(std::string("select 1\0 x", 11)).code, Code::kInvalidArgument);
  EXPECT_NE(refused("select * from nothing").message.find("nothing"), std::string::npos);
}

TEST_F(Sql, EndsInTimeRowsAndMemory) {
  Limits short_time;
  short_time.time_ms = 50;
  const char* forever =
      "with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) from n";
  EXPECT_EQ(refused(forever, short_time).code, Code::kDeadlineExceeded);
  EXPECT_EQ(
      refused("select count(*) from events a, events b, events c, events d, events e", short_time)
          .code,
      Code::kDeadlineExceeded);
  Limits few;
  few.rows = 5;
  auto answer = ask("select type from events", few);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->rows.size(), 5u);
  EXPECT_TRUE(answer->more);
  few.rows = 30;
  EXPECT_FALSE(ask("select type from events", few)->more);
  Limits few_bytes;
  few_bytes.answer_bytes = 100;
  EXPECT_TRUE(ask("select * from events", few_bytes)->more);
  EXPECT_EQ(refused("select zeroblob(100000000)").code, Code::kTooLarge);
  Limits long_time;
  long_time.time_ms = 60'000;
  const char* hoard =
      "with recursive n(i) as (select 1 union all select i + 1 from n limit 1000) "
      "select count(distinct hex(zeroblob(1000000)) || i) from n";
  EXPECT_EQ(refused(hoard, long_time).code, Code::kTooLarge);
  EXPECT_EQ(number("select count(*) as n from events"), 30);  // and all is well afterwards
}

TEST_F(Sql, EndsWhenItIsTold) {
  const char* forever =
      "with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) from n";
  for (const char* sql : {forever, "select count(*) from events", "select count(*) from actors"})
    for (int at = 1; at < 10; ++at) {
      int looks = 0;
      const auto answer = ask(sql, {}, nullptr, [&] { return ++looks >= at; });
      ASSERT_FALSE(answer) << sql;
      EXPECT_EQ(answer.error().code, Code::kUnavailable) << sql;
    }
}

// The rows of a partition are made at one go, when the last of its entries is read.
TEST_F(Sql, LooksAtItsTimeForEachActor) {
  for (int i = 0; i < 100; ++i)
    ASSERT_TRUE(add("b" + std::to_string(i), 1, "b" + std::to_string(i)));
  const auto looks = [&](const char* sql) {
    int n = 0;
    EXPECT_TRUE(ask(sql, {}, nullptr, [&] { return ++n < 0; })) << sql;
    return n;
  };
  EXPECT_GE(looks("select count(*) from actors"), looks("select count(*) from events") + 90);
}

TEST_F(Sql, HoldsStatesAndRowsOfActorsUpToALimit) {
  Limits little;
  little.held_bytes = 50;
  EXPECT_EQ(refused("select count(*) from effects", little).code, Code::kTooLarge) << "states";
  EXPECT_EQ(refused("select count(*) from actors", little).code, Code::kTooLarge) << "rows";
  EXPECT_TRUE(ask("select count(*) from events", little));
  little.held_bytes = 300;  // each row has some 80; three readings at a time, many in all
  for (const char* sql :
       {"select count(*) from actors a, actors b, actors c",
        "select count(*) from events e where exists (select 1 from actors where id <> e.type)"}) {
    const auto answer = ask(sql, little);
    EXPECT_TRUE(answer) << answer.error().message;
  }
}

TEST_F(Sql, ColumnsThatShareANameDiffer) {
  const auto all = rows("select 1 as x, 2 as x");
  EXPECT_EQ(all[0].at("x").as_int64(), 1);
  EXPECT_EQ(all[0].at("x_2").as_int64(), 2);
}

}  // namespace
}  // namespace soma::runtime::query
