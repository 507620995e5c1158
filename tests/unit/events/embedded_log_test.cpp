// The embedded engine when nothing fails: storing, reopening, rolling, locking, limits.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <thread>

#include "tests/unit/events/log_fixture.h"

namespace soma::events {
namespace {

using namespace test;
using Kind = AppendReport::Kind;

TEST(Embedded, KeepsRecordsOverReopening) {
  TempFolder t;
  for (int round = 0; round < 3; ++round) {
    auto log = open_small(t.log());
    EXPECT_EQ(log->partition_count(), 3u);
    for (std::uint32_t p = 0; p < 3; ++p) {
      const auto report =
          append_wait(*log, PartitionId{p}, "r" + std::to_string(round) + std::to_string(p));
      EXPECT_EQ(report.kind, Kind::kDurable);
      EXPECT_EQ(report.offset, Offset{static_cast<std::uint64_t>(round)});
    }
    EXPECT_TRUE(log->health());
  }
  auto log = open_small(t.log());
  EXPECT_EQ(read_all(*log, PartitionId{1}), (std::vector<std::string>{"r01", "r11", "r21"}));
  EXPECT_EQ(log->end(PartitionId{2}), Offset{3});
}

TEST(Embedded, RollsOverManySegmentsAndReadsThemAll) {
  TempFolder t;
  std::vector<std::string> written;
  {
    auto log = open_small(t.log());
    for (int i = 0; i < 60; ++i) {
      written.push_back(std::string(5000, static_cast<char>('a' + i % 26)) + std::to_string(i));
      ASSERT_EQ(append_wait(*log, PartitionId{0}, written.back()).kind, Kind::kDurable);
    }
    EXPECT_EQ(read_all(*log, PartitionId{0}), written);
  }
  EXPECT_TRUE(std::filesystem::exists(t.log() + "/" + segment_name(4)));
  EXPECT_FALSE(std::filesystem::exists(t.log() + "/next.tmp"));
  auto log = open_small(t.log());
  EXPECT_EQ(read_all(*log, PartitionId{0}), written);
  log.reset();
  auto verified = verify_segments(t.log());
  ASSERT_TRUE(verified);
  EXPECT_FALSE(verified->damage);
  EXPECT_EQ(verified->last_round, 60u);
}

TEST(Embedded, AnExistingLogKeepsItsPartitionCount) {
  TempFolder t;
  open_small(t.log());
  auto o = small_log(t.log());
  o.partition_count = 64;
  auto log = open_embedded_log(o);
  ASSERT_TRUE(log);
  EXPECT_EQ((*log)->partition_count(), 3u);
}

TEST(Embedded, ASecondOwnerIsToldTheHoldersPid) {
  TempFolder t;
  auto log = open_small(t.log());
  auto second = open_embedded_log(small_log(t.log()));
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Code::kLocked);
  EXPECT_NE(second.error().message.find(std::to_string(::getpid())), std::string::npos);
  EXPECT_EQ(lock_holder(t.log()), ::getpid());
  log.reset();
  EXPECT_EQ(lock_holder(t.log()), std::nullopt);
  EXPECT_TRUE(open_embedded_log(small_log(t.log())));
}

TEST(Embedded, TheLockDiesWithItsProcess) {
  TempFolder t;
  std::filesystem::create_directories(t.log());
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t child = ::fork();
  if (child == 0) {  // only system calls that are safe after fork
    FolderLock lock;
    const char ok = lock.take(t.log()) ? 'y' : 'n';
    if (::write(ready[1], &ok, 1) != 1) ::_exit(1);
    ::pause();
    ::_exit(0);
  }
  char ok = 0;
  ASSERT_EQ(::read(ready[0], &ok, 1), 1);
  ASSERT_EQ(ok, 'y');
  EXPECT_EQ(lock_holder(t.log()), child);
  EXPECT_EQ(open_embedded_log(small_log(t.log())).error().code, Code::kLocked);
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  EXPECT_TRUE(open_embedded_log(small_log(t.log())));
  ::close(ready[0]);
  ::close(ready[1]);
}

TEST(Embedded, ReadOnlyReadsBesideTheOwnerAndRefusesAppends) {
  TempFolder t;
  auto owner = open_small(t.log());
  append_wait(*owner, PartitionId{0}, "one");
  auto reader = open_embedded_log_readonly(t.log());
  ASSERT_TRUE(reader) << reader.error().message;
  EXPECT_EQ(read_all(**reader, PartitionId{0}), std::vector<std::string>{"one"});
  EXPECT_EQ(append_wait(**reader, PartitionId{0}, "two").kind, Kind::kRefused);
  EXPECT_EQ(open_embedded_log_readonly(t.log() + "/none").error().code, Code::kNotFound);
  auto verified = verify_segments(t.log());
  ASSERT_TRUE(verified);
  EXPECT_FALSE(verified->damage);
}

TEST(Embedded, RefusesWhatExceedsItsLimits) {
  TempFolder t;
  auto log = open_small(t.log());
  EXPECT_EQ(append_wait(*log, PartitionId{0}, std::string(64 << 10, 'x')).error.code,
            Code::kTooLarge);
  EXPECT_EQ(append_wait(*log, PartitionId{3}, "x").error.code, Code::kInvalidArgument);
  EXPECT_EQ(log->read(PartitionId{3}, Offset{}, 1).error().code, Code::kInvalidArgument);
  EXPECT_EQ(log->end(PartitionId{3}), Offset{});
  const std::string largest(
      (64 << 10) - sizeof(SegmentHeader) - sizeof(RoundHeader) - kRecordHeaderBytes, 'y');
  EXPECT_EQ(append_wait(*log, PartitionId{0}, largest).kind, Kind::kDurable);
  EXPECT_EQ(append_wait(*log, PartitionId{0}, largest).kind, Kind::kDurable);
  EXPECT_EQ(append_wait(*log, PartitionId{0}, "").kind, Kind::kDurable);
  EXPECT_EQ(read_all(*log, PartitionId{0}), (std::vector<std::string>{largest, largest, ""}));
  auto o = small_log(t.log() + "2");
  o.partition_count = 0;
  EXPECT_EQ(open_embedded_log(o).error().field, "partition_count");
  o = small_log(t.log() + "2");
  o.segment_bytes = 1;
  EXPECT_EQ(open_embedded_log(o).error().field, "segment_bytes");
}

TEST(Embedded, ManyWritersAndReadersAtOnce) {
  TempFolder t;
  auto log = open_small(t.log());
  constexpr int kWriters = 3, kEach = 300;
  std::atomic<int> durable{0};
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (std::uint32_t w = 0; w < kWriters; ++w)
    threads.emplace_back([&, w] {
      std::atomic<std::uint64_t> expected{0};
      std::atomic<int> done{0};
      for (int i = 0; i < kEach; ++i)
        log->append(PartitionId{w}, std::to_string(w) + ":" + std::to_string(i),
                    [&](const AppendReport& r) {
                      if (r.kind == Kind::kDurable && r.offset == Offset{expected.load()})
                        ++durable;
                      ++expected;
                      ++done;
                      done.notify_all();
                    });
      for (int n = done; n < kEach; n = done) done.wait(n);
    });
  std::thread reader([&] {
    while (!stop)
      for (std::uint32_t p = 0; p < 3; ++p) {
        const auto all = read_all(*log, PartitionId{p});
        for (std::size_t i = 0; i < all.size(); ++i)
          ASSERT_EQ(all[i], std::to_string(p) + ":" + std::to_string(i));
      }
  });
  for (auto& thread : threads) thread.join();
  stop = true;
  reader.join();
  EXPECT_EQ(durable, kWriters * kEach);
}

TEST(Embedded, ClosingWritesWhatWasQueued) {
  TempFolder t;
  std::atomic<int> durable{0};
  {
    auto log = open_small(t.log());
    for (int i = 0; i < 100; ++i)
      log->append(PartitionId{0}, "x",
                  [&](const AppendReport& r) { durable += r.kind == Kind::kDurable; });
  }
  EXPECT_EQ(durable, 100);
}

}  // namespace
}  // namespace soma::events
