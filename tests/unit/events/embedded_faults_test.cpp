// The embedded engine when the disk fails: EIO, failed syncs, a full disk.
#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>

#include "tests/unit/events/log_fixture.h"

namespace soma::events {
namespace {

using namespace test;
using Kind = AppendReport::Kind;

// Real calls, each of which can be told to fail.
struct Faults {
  std::atomic<int> write_error{0}, sync_error{0}, reserve_error{0}, rename_error{0};
  std::atomic<int> calls_until_error{-1};  // of any kind; -1: never

  FileOps ops() {
    FileOps real = FileOps::real();
    FileOps o;
    o.write_at = [this, real](int fd, const void* data, std::size_t size, off_t at) {
      if (int e = fault(write_error)) return e;
      return real.write_at(fd, data, size, at);
    };
    o.sync_data = [this, real](int fd) {
      if (int e = fault(sync_error)) return e;
      return real.sync_data(fd);
    };
    o.reserve = [this, real](int fd, std::size_t size) {
      if (int e = fault(reserve_error)) return e;
      return real.reserve(fd, size);
    };
    o.rename = [this, real](const std::string& from, const std::string& to) {
      if (int e = fault(rename_error)) return e;
      return real.rename(from, to);
    };
    o.sync_folder = [this, real](const std::string& folder) {
      if (int e = fault(sync_error)) return e;
      return real.sync_folder(folder);
    };
    return o;
  }

 private:
  int fault(const std::atomic<int>& error) {
    if (calls_until_error >= 0 && calls_until_error-- == 0) return EIO;
    return error;
  }
};

class FailedCall : public testing::TestWithParam<bool> {};

TEST_P(FailedCall, MakesTheEngineReadOnlyForGood) {
  TempFolder t;
  Faults faults;
  auto log = open_small(t.log(), faults.ops());
  ASSERT_EQ(append_wait(*log, PartitionId{0}, "kept").kind, Kind::kDurable);
  (GetParam() ? faults.sync_error : faults.write_error) = EIO;
  const auto failed = append_wait(*log, PartitionId{0}, "doubtful");
  EXPECT_EQ(failed.kind, Kind::kUnknown);
  EXPECT_FALSE(failed.offset);
  faults.sync_error = faults.write_error = 0;  // the disk pretends to be well again
  EXPECT_EQ(append_wait(*log, PartitionId{0}, "after").kind, Kind::kRefused);
  EXPECT_EQ(log->health().error().code, Code::kIo);
  EXPECT_EQ(read_all(*log, PartitionId{0}), std::vector<std::string>{"kept"});
  log.reset();
  log = open_small(t.log());
  const auto found = read_all(*log, PartitionId{0});
  ASSERT_FALSE(found.empty());
  EXPECT_EQ(found[0], "kept");
  if (found.size() > 1) {
    EXPECT_EQ(found[1], "doubtful");
  }
  EXPECT_LE(found.size(), 2u);
  EXPECT_EQ(append_wait(*log, PartitionId{0}, "again").kind, Kind::kDurable);
}
INSTANTIATE_TEST_SUITE_P(Embedded, FailedCall, testing::Bool(),
                         [](const auto& p) { return p.param ? "Sync" : "Write"; });

// The n-th call of any kind fails, for every n of a run that rolls over segments.
TEST(EmbeddedFaults, WhereverACallFailsAckedRecordsStay) {
  int clean_runs = 0;
  for (int n = 0; clean_runs == 0 && n < 600; ++n) {
    TempFolder t;
    Faults faults;
    std::vector<std::string> acked;
    bool failed = false;
    {
      faults.calls_until_error = n;
      auto log = open_embedded_log(small_log(t.log(), faults.ops()));
      if (!log) {
        failed = true;
      } else {
        for (int i = 0; i < 24; ++i) {
          const std::string record = std::to_string(i) + std::string(6000, 'r');
          const auto report = append_wait(**log, PartitionId{0}, record);
          if (report.kind == Kind::kDurable) {
            ASSERT_FALSE(failed) << "acknowledged after a failure";
            acked.push_back(record);
          } else {
            failed = true;
          }
        }
        failed = failed || !(*log)->health();
      }
    }
    if (faults.calls_until_error >= 0) ++clean_runs;
    auto log = open_small(t.log());
    ASSERT_TRUE(log) << "call " << n;
    auto found = read_all(*log, PartitionId{0});
    ASSERT_GE(found.size(), acked.size()) << "call " << n;
    found.resize(acked.size());
    ASSERT_EQ(found, acked) << "call " << n;
    ASSERT_EQ(append_wait(*log, PartitionId{0}, "goes on").kind, Kind::kDurable);
  }
  EXPECT_EQ(clean_runs, 1) << "the run never ended without meeting the fault";
}

TEST(EmbeddedFaults, AFullDiskRefusesBeforeStoringAndHealsByItself) {
  TempFolder t;
  Faults faults;
  auto log = open_small(t.log(), faults.ops());
  faults.reserve_error = ENOSPC;
  std::vector<std::string> acked;
  AppendReport report;
  for (int i = 0; i < 100; ++i) {
    const std::string record = std::to_string(i) + std::string(6000, 'r');
    report = append_wait(*log, PartitionId{0}, record);
    if (report.kind != Kind::kDurable) break;
    acked.push_back(record);
  }
  ASSERT_EQ(report.kind, Kind::kRefused);
  EXPECT_EQ(report.error.code, Code::kStorageFull);
  EXPECT_EQ(log->health().error().code, Code::kStorageFull);
  EXPECT_EQ(read_all(*log, PartitionId{0}), acked);
  EXPECT_EQ(append_wait(*log, PartitionId{0}, "would still fit").kind, Kind::kRefused)
      << "a full disk refuses all, not only what is long";
  faults.reserve_error = 0;
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (!log->health() && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
  EXPECT_EQ(append_wait(*log, PartitionId{0}, "after").kind, Kind::kDurable);
  EXPECT_TRUE(log->health());
  acked.push_back("after");
  log.reset();
  EXPECT_EQ(read_all(*open_small(t.log()), PartitionId{0}), acked);
}

TEST(EmbeddedFaults, HealthRecoversWithoutAnyAppend) {
  TempFolder t;
  Faults faults;
  auto log = open_small(t.log(), faults.ops());
  faults.reserve_error = ENOSPC;
  while (append_wait(*log, PartitionId{0}, std::string(9000, 'r')).kind == Kind::kDurable) {
  }
  ASSERT_FALSE(log->health());
  faults.reserve_error = 0;
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (!log->health() && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
  EXPECT_TRUE(log->health());
}

TEST(EmbeddedFaults, AFullDiskAtTheFirstStartIsSaid) {
  TempFolder t;
  Faults faults;
  faults.reserve_error = ENOSPC;
  auto log = open_embedded_log(small_log(t.log(), faults.ops()));
  ASSERT_FALSE(log);
  EXPECT_EQ(log.error().code, Code::kStorageFull);
  EXPECT_TRUE(open_embedded_log(small_log(t.log())));
}

}  // namespace
}  // namespace soma::events
