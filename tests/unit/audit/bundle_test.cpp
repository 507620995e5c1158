// What a tenant's bundle holds, and that any change of it is found where it was made.
#include "runtime/audit/bundle.h"

#include <atomic>
#include <boost/json.hpp>
#include <future>
#include <sstream>
#include <thread>

#include "runtime/audit/keeper.h"
#include "runtime/security/base64url.h"
#include "tests/unit/host/fixture.h"
#include "tools/auditor/check.h"

namespace soma::runtime::audit {
namespace {

class Bundle : public HostFixture {
 protected:
  void SetUp() override {
    HostFixture::SetUp();
    key_ = *security::generate_ed25519();
    for (int i = 0; i < 25; ++i)
      ASSERT_TRUE(add("a" + std::to_string(i % 5), i, "k" + std::to_string(i)));
    v1::CounterCommand c;
    c.mutable_add()->set_amount(77);
    for (int i = 0; i < 5; ++i)
      ASSERT_TRUE(submit({"other", "counter", "foreign" + std::to_string(i), {}}, c,
                         "f" + std::to_string(i), "77"));
  }
  std::vector<std::string> bundle(const std::vector<std::string>& older = {}) {
    std::vector<std::string> lines;
    auto made = write_bundle(*log_, *catalog_, key_, "demo", older, 5, [&](std::string_view line) {
      lines.emplace_back(line);
      return Status{};
    });
    EXPECT_TRUE(made) << made.error().message;
    return lines;
  }
  auditor::Report check(const std::vector<std::string>& lines) {
    std::string all;
    for (const auto& line : lines) all += line;
    std::istringstream in(all);
    return auditor::check_stream(in, {key_.id});
  }
  static std::size_t first_record(const std::vector<std::string>& lines) {
    std::size_t n = 0;
    while (!lines[n].starts_with(R"({"at":)")) ++n;
    return n;
  }
  security::Key key_;
};

TEST_F(Bundle, AWholeOneIsVerifiedAndHoldsNothingOfOthers) {
  const auto lines = bundle();
  const auto report = check(lines);
  EXPECT_TRUE(report.ok()) << report.bad->detail;
  EXPECT_EQ(report.records, 25u);
  std::size_t records = 0;
  for (const auto& line : lines) records += line.starts_with(R"({"at":)");
  EXPECT_EQ(records, 25u);
  for (const auto& line : lines) {
    if (!line.starts_with(R"({"at":)")) continue;
    const auto entry = boost::json::parse(line).at("entry").as_string();
    EXPECT_EQ(security::base64url_decode(entry)->find("foreign"), std::string::npos);
  }
}

TEST_F(Bundle, NobodyIsTrustedUnnamed) {
  std::string all;
  for (const auto& line : bundle()) all += line;
  std::istringstream whole(all);
  const auto report = auditor::check_stream(whole, {security::generate_ed25519()->id});
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.bad->reason, "key");
}

TEST_F(Bundle, AChangedRecordIsNamed) {
  const auto lines = bundle();
  for (std::size_t n = first_record(lines); n + 1 < lines.size(); ++n) {
    auto changed = lines;
    const auto middle = changed[n].find(R"("entry":")") + 12;
    changed[n][middle] = changed[n][middle] == 'A' ? 'B' : 'A';
    const auto report = check(changed);
    ASSERT_FALSE(report.ok());
    EXPECT_EQ(report.bad->line, n + 1);
    const auto at = boost::json::parse(lines[n]).at("at").as_string();
    EXPECT_TRUE(std::string_view(at).starts_with(std::to_string(*report.bad->partition) + " " +
                                                 std::to_string(*report.bad->index) + " "))
        << at;
  }
}

TEST_F(Bundle, ADroppedRecordIsNamed) {
  const auto lines = bundle();
  for (std::size_t n = first_record(lines); n + 1 < lines.size(); ++n) {
    auto changed = lines;
    changed.erase(changed.begin() + static_cast<long>(n));
    const auto report = check(changed);
    ASSERT_FALSE(report.ok());
    EXPECT_EQ(report.bad->reason, "record_missing");
    EXPECT_EQ(report.bad->line, n + 1);
  }
}

TEST_F(Bundle, AnOlderHeadMustBeOfAPrefix) {
  Keeper keeper(
      *log_, [this] { return Result<security::Key>(key_); }, folder_.string(), 0, *clock_);
  auto older = keeper.sign("demo");
  ASSERT_TRUE(older);
  ASSERT_TRUE(add("later", 1, "later"));
  const auto report = check(bundle({older->jws}));
  EXPECT_TRUE(report.ok()) << report.bad->detail;
  EXPECT_EQ(report.older_heads, 1u);

  Head other = older->head;
  for (auto& p : other.partitions)
    if (p.records > 0) p.root[0] = static_cast<char>(p.root[0] ^ 1);
  const auto lines = bundle({*sign_head(key_, other)});
  const auto refused = check(lines);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.bad->reason, "older_head");
  EXPECT_EQ(refused.bad->line, 4u);
}

// Each reading takes until the keeper is told to end.
class SlowLog final : public events::Log {
 public:
  explicit SlowLog(events::Log& log) : log_(log) {}
  std::function<bool()> over;
  std::promise<void> begun;

  std::uint32_t partition_count() const override { return log_.partition_count(); }
  void append(PartitionId p, std::string record, OnReport on_report) override {
    log_.append(p, std::move(record), std::move(on_report));
  }
  Result<std::vector<events::Record>> read(PartitionId p, Offset from,
                                           std::size_t max_bytes) const override {
    if (!reading_.exchange(true)) const_cast<SlowLog*>(this)->begun.set_value();
    while (!over()) std::this_thread::yield();
    return log_.read(p, from, max_bytes);
  }
  Offset end(PartitionId p) const override { return log_.end(p); }
  std::uint64_t follow(std::function<void(PartitionId)> on_grow) override {
    return log_.follow(std::move(on_grow));
  }
  void unfollow(std::uint64_t subscription) override { log_.unfollow(subscription); }
  Status health() const override { return log_.health(); }

 private:
  events::Log& log_;
  mutable std::atomic<bool> reading_{false};
};

TEST_F(Bundle, AKeeperThatEndsInTheMiddleOfAReadingDoesNotComplain) {
  SlowLog slow(*log_);
  const auto key = [this] { return Result<security::Key>(key_); };
  Keeper* keeper = nullptr;
  std::promise<void> there;
  slow.over = [&, made = there.get_future().share()] { return made.wait(), keeper->stopping(); };
  auto made = std::make_unique<Keeper>(slow, key, folder_.string(), 1, *clock_);
  keeper = made.get();
  there.set_value();
  slow.begun.get_future().wait();
  ::testing::internal::CaptureStderr();
  made.reset();
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
}

TEST_F(Bundle, TheKeepersHeadIsThatOfAWholeReadingAndIsKeptOnce) {
  Keeper keeper(
      *log_, [this] { return Result<security::Key>(key_); }, folder_.string(), 0, *clock_);
  ASSERT_TRUE(keeper.sign("demo"));
  ASSERT_TRUE(add("later", 1, "later"));
  auto grown = keeper.sign("demo");
  ASSERT_TRUE(grown);
  ASSERT_TRUE(keeper.sign("demo"));
  EXPECT_EQ(keeper.heads().of("demo").size(), 2u);
  EXPECT_TRUE(keeper.heads().of("other").empty());
  auto whole = read_trees(*log_, "demo", grown->head.time_ms);
  ASSERT_TRUE(whole);
  EXPECT_EQ(to_json(whole->head), to_json(grown->head));
  EXPECT_EQ(keeper.sign("nobody").error().code, Code::kNotFound);
}

TEST_F(Bundle, AStopEndsTheReadingBeforeAnythingWasWritten) {
  std::size_t lines = 0, asked = 0;
  const auto write = [&](std::string_view) -> Status {
    ++lines;
    return {};
  };
  auto made = write_bundle(*log_, *catalog_, key_, "demo", {}, 5, write, {}, [] { return true; });
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, Code::kUnavailable);
  EXPECT_EQ(lines, 0u);
  // In the middle of the second reading: no end line, so it does not look whole.
  made = write_bundle(*log_, *catalog_, key_, "demo", {}, 5, write, {},
                      [&] { return lines > 0 && ++asked > 1; });
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, Code::kUnavailable);
  EXPECT_GT(lines, 0u);
  EXPECT_EQ(prove_event(*log_, key_, "demo", "any", 5, [] { return true; }).error().code,
            Code::kUnavailable);
}

TEST_F(Bundle, AnEventsProofHoldsForThatEventAlone) {
  std::vector<std::string> ids;
  ASSERT_TRUE(read_trees(*log_, "demo", 5, [&](const Record& r) {
    v1::Entry entry;
    ASSERT_TRUE(entry.ParseFromString(r.bytes));
    for (const auto& e : entry.events()) ids.push_back(e.event_id());
  }));
  ASSERT_EQ(ids.size(), 25u);
  for (const auto& id : ids) {
    auto proof = prove_event(*log_, key_, "demo", id, 5);
    ASSERT_TRUE(proof) << proof.error().message;
    std::istringstream good(boost::json::serialize(*proof));
    EXPECT_TRUE(auditor::check_stream(good, {key_.id}).ok());
    (*proof)["event_id"] = ids[id == ids[0] ? 1 : 0];
    std::istringstream bad(boost::json::serialize(*proof));
    EXPECT_EQ(auditor::check_stream(bad, {key_.id}).bad->reason, "event");
    EXPECT_EQ(prove_event(*log_, key_, "other", id, 5).error().code, Code::kNotFound);
  }
}

}  // namespace
}  // namespace soma::runtime::audit
