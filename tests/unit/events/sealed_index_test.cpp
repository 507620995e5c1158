// Old segments are taken by their index at a start and read behind it: nothing is lost by it,
// damage is found as ever.
#include "events/embedded/sealed_index.h"

#include <gtest/gtest.h>

#include "events/embedded/caretaker.h"
#include "events/embedded/file_window.h"
#include "tests/unit/events/log_fixture.h"

namespace soma::events {
namespace {

using namespace test;
namespace fs = std::filesystem;

constexpr std::uint32_t kPartitions = 3;

EmbeddedOptions by_indexes(const std::string& folder) {
  EmbeddedOptions o = small_log(folder);
  o.read_at_open_bytes = 1;  // the newest segment alone
  return o;
}

std::vector<std::vector<std::string>> everything(const Log& log) {
  std::vector<std::vector<std::string>> out;
  for (std::uint32_t p = 0; p < kPartitions; ++p) out.push_back(read_all(log, PartitionId{p}));
  return out;
}

std::uint64_t segments(const std::string& folder) {
  std::uint64_t n = 0;
  while (fs::exists(fs::path(folder) / segment_name(n))) ++n;
  return n;
}

// Until the condition holds; false after ten seconds.
template <typename Condition>
bool within_ten_seconds(const Condition& condition) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::yield();
  }
  return true;
}

class SealedIndexes : public ::testing::Test {
 protected:
  // A closed log of several segments, the full ones with their indexes.
  void SetUp() override {
    auto log = open_small(folder_);
    for (int i = 0; i < 400; ++i)
      ASSERT_EQ(append_wait(*log, PartitionId{static_cast<std::uint32_t>(i) % kPartitions},
                            std::to_string(i) + std::string(700, 'p'))
                    .kind,
                AppendReport::Kind::kDurable);
    all_ = everything(*log);
    log.reset();
    count_ = segments(folder_);
    ASSERT_GE(count_, 4u);
    look_after(0);
    for (std::uint64_t s = 0; s + 1 < count_; ++s) ASSERT_TRUE(read_sealed_index(folder_, s)) << s;
  }

  // What a caretaker says of the closed log of which segments below `unread` were not read.
  std::optional<Error> look_after(std::uint64_t unread) {
    LogState state;
    if (unread > 0) state = read_sealed_index(folder_, unread - 1)->after();
    std::optional<Error> found;
    Caretaker caretaker(folder_, unread, state, [&](Error e) { found = std::move(e); });
    caretaker.full_below(segments(folder_) - 1);
    caretaker.wait();
    return found;
  }

  fs::path segment(std::uint64_t n) const { return fs::path(folder_) / segment_name(n); }

  void flip(const fs::path& path, std::size_t byte) {
    std::string bytes = read_bytes(path);
    bytes[byte] = static_cast<char>(bytes[byte] ^ 4);
    write_bytes(path, bytes);
  }

  TempFolder t_;
  const std::string folder_ = t_.log();
  std::vector<std::vector<std::string>> all_;
  std::uint64_t count_ = 0;
};

TEST_F(SealedIndexes, ALogOpenedByItsIndexesHoldsAndTakesEverything) {
  auto log = open_embedded_log(by_indexes(folder_));
  ASSERT_TRUE(log) << log.error().message;
  EXPECT_EQ(everything(**log), all_);
  all_[1].push_back("one more");
  const auto report = append_wait(**log, PartitionId{1}, "one more");
  EXPECT_EQ(report.kind, AppendReport::Kind::kDurable);
  EXPECT_EQ(report.offset->value, all_[1].size() - 1);
  log->reset();
  EXPECT_EQ(everything(*open_small(folder_)), all_);
  EXPECT_FALSE(verify_segments(folder_)->damage);
}

TEST_F(SealedIndexes, EveryFlippedByteOfAnIndexMakesItNone) {
  const std::string whole = read_bytes(sealed_index_path(folder_, 1));
  ASSERT_TRUE(decode_sealed_index(whole));
  EXPECT_EQ(encode_sealed_index(*decode_sealed_index(whole)), whole);
  for (std::size_t i = 0; i < whole.size(); ++i) {
    std::string bytes = whole;
    bytes[i] = static_cast<char>(bytes[i] ^ (1 << (i % 8)));
    EXPECT_FALSE(decode_sealed_index(bytes)) << i;
    EXPECT_FALSE(decode_sealed_index(std::string_view(whole).substr(0, i))) << i;
  }
  EXPECT_FALSE(decode_sealed_index(whole + '\0'));
}

TEST_F(SealedIndexes, WithoutAnIndexItsSegmentIsReadAtTheStartAndTheIndexMadeAgain) {
  fs::remove(sealed_index_path(folder_, 1));
  flip(sealed_index_path(folder_, 2), 70);
  {
    auto log = open_embedded_log(by_indexes(folder_));
    ASSERT_TRUE(log) << log.error().message;
    EXPECT_EQ(everything(**log), all_);
    EXPECT_TRUE(within_ten_seconds(
        [&] { return read_sealed_index(folder_, 1) && read_sealed_index(folder_, 2); }));
  }
  fs::remove(sealed_index_path(folder_, 1));
  flip(segment(1), 500);
  auto damaged = open_embedded_log(by_indexes(folder_));
  ASSERT_FALSE(damaged);
  EXPECT_EQ(damaged.error().code, Code::kCorrupt);
  EXPECT_NE(damaged.error().message.find(segment(1).string() + " at byte "), std::string::npos);
}

TEST_F(SealedIndexes, RotInASegmentTakenByItsIndexIsFoundBehindTheStartAndEndsAppends) {
  const auto third = read_sealed_index(folder_, 1)->records.at(2);
  flip(segment(1), third.byte + kRecordHeaderBytes + 5);
  auto log = open_embedded_log(by_indexes(folder_));
  ASSERT_TRUE(log) << log.error().message;
  const auto read = (*log)->read(third.partition, third.offset, 1);
  ASSERT_FALSE(read) << "rot was read as if it were a record";
  EXPECT_EQ(read.error().code, Code::kCorrupt);
  ASSERT_TRUE(within_ten_seconds([&] { return !(*log)->health(); }));
  const Error error = (*log)->health().error();
  EXPECT_EQ(error.code, Code::kCorrupt);
  EXPECT_NE(error.message.find(segment(1).string() + " at byte " + std::to_string(third.byte)),
            std::string::npos)
      << error.message;
  EXPECT_EQ(append_wait(**log, PartitionId{0}, "late").kind, AppendReport::Kind::kRefused);
}

TEST_F(SealedIndexes, EveryByteOfASegmentTakenByItsIndexIsRead) {
  const std::string whole = read_bytes(segment(1));
  for (std::size_t byte = 64; byte < whole.size(); byte += 997) {
    flip(segment(1), byte);
    const auto found = look_after(2);
    ASSERT_TRUE(found) << byte;
    EXPECT_EQ(found->code, Code::kCorrupt) << byte;
    EXPECT_NE(found->message.find(segment(1).string()), std::string::npos) << found->message;
    write_bytes(segment(1), whole);
  }
  flip(segment(1), 20);  // its header: then it is not the segment of that index
  EXPECT_FALSE(open_embedded_log(by_indexes(folder_)));
  write_bytes(segment(1), whole);
  EXPECT_FALSE(look_after(count_ - 1));
}

// Records smaller and larger than what is read at once, across every place where a read ends.
TEST(SealedIndexesOfLargeSegments, AreMadeAndCheckedAPartAtATime) {
  TempFolder t;
  EmbeddedOptions options = small_log(t.log());
  options.segment_bytes = 5 * FileWindow::kStep;
  std::vector<std::vector<std::string>> all;
  std::uint64_t count = 0;
  {
    auto log = open_embedded_log(options);
    ASSERT_TRUE(log) << log.error().message;
    for (std::uint64_t i = 0; i < 60; ++i)
      ASSERT_EQ(append_wait(**log, PartitionId{static_cast<std::uint32_t>(i % kPartitions)},
                            std::string(i % 9 == 0 ? FileWindow::kStep + i : 90'001 + i * 37,
                                        static_cast<char>('a' + i % 26)))
                    .kind,
                AppendReport::Kind::kDurable);
    all = everything(**log);
    count = segments(t.log());
    ASSERT_GE(count, 3u);
    ASSERT_TRUE(
        within_ten_seconds([&] { return read_sealed_index(t.log(), count - 2).has_value(); }));
  }
  options.read_at_open_bytes = 1;
  EXPECT_EQ(everything(**open_embedded_log(options)), all);
  const std::atomic<bool> stop = false;
  const auto ignored = [](const ScannedRecord&) {};
  const LogState before = read_sealed_index(t.log(), 0)->after();
  const fs::path path = fs::path(t.log()) / segment_name(1);
  const std::string whole = read_bytes(path);
  ASSERT_FALSE(scan_full_segment(t.log(), 1, before, stop, ignored)->damage);
  for (std::uint64_t byte = 61; byte < whole.size(); byte += FileWindow::kStep / 3) {
    std::string bytes = whole;
    bytes[byte] = static_cast<char>(bytes[byte] ^ 16);
    write_bytes(path, bytes);
    const auto scan = scan_full_segment(t.log(), 1, before, stop, ignored);
    ASSERT_TRUE(scan) << scan.error().message;
    ASSERT_TRUE(scan->damage) << byte;
    EXPECT_LE(scan->damage->byte, byte);
  }
}

// Whoever stops a caretaker waits for it, and it may get hardly any processor.
TEST_F(SealedIndexes, AScanThatIsToldToStopReadsNothingMore) {
  std::atomic<bool> stop = false;
  const auto at_the_first = [&](const ScannedRecord&) {
    stop = true;
    fs::remove(segment(1));
  };
  const LogState before = read_sealed_index(folder_, 0)->after();
  const auto scan = scan_full_segment(folder_, 1, before, stop, at_the_first);
  ASSERT_FALSE(scan);
  EXPECT_EQ(scan.error().code, Code::kCancelled) << scan.error().message;
}

// Also when it was told of nothing new after it had become idle.
TEST_F(SealedIndexes, WhoWaitsIsToldThoughNothingIsLeftToDo) {
  const auto before = read_sealed_index(folder_, count_ - 2);
  Caretaker caretaker(folder_, count_ - 1, before->after(), [](const Error&) {});
  caretaker.wait();
  caretaker.full_below(count_ - 1);
  caretaker.wait();
  caretaker.full_below(count_ - 1);
  caretaker.wait();
}

TEST_F(SealedIndexes, AnIndexThatLiesIsFoundAndRemoved) {
  auto index = *read_sealed_index(folder_, 1);
  index.records.pop_back();
  ASSERT_TRUE(write_sealed_index(folder_, index));
  const auto found = look_after(count_ - 1);
  ASSERT_TRUE(found);
  EXPECT_NE(found->message.find(sealed_index_path(folder_, 1)), std::string::npos);
  EXPECT_FALSE(fs::exists(sealed_index_path(folder_, 1)));
  EXPECT_EQ(everything(**open_embedded_log(by_indexes(folder_))), all_);
}

TEST_F(SealedIndexes, AnIndexOfAnotherLogIsNotTaken) {
  TempFolder other;
  {
    auto log = open_small(other.log());
    for (int i = 0; i < 400; ++i)
      append_wait(*log, PartitionId{static_cast<std::uint32_t>(i) % kPartitions},
                  std::to_string(i) + std::string(700, 'q'));
    ASSERT_TRUE(within_ten_seconds([&] { return read_sealed_index(other.log(), 1).has_value(); }));
  }
  fs::copy_file(sealed_index_path(other.log(), 1), sealed_index_path(folder_, 1),
                fs::copy_options::overwrite_existing);
  EXPECT_FALSE(read_sealed_index(folder_, 1));
  EXPECT_EQ(everything(**open_embedded_log(by_indexes(folder_))), all_);
}

TEST_F(SealedIndexes, AMissingSegmentIsFoundThoughItsIndexIsThere) {
  fs::remove(segment(1));
  const auto log = open_embedded_log(by_indexes(folder_));
  ASSERT_FALSE(log);
  EXPECT_EQ(log.error().code, Code::kCorrupt);
  EXPECT_NE(log.error().message.find("missing"), std::string::npos) << log.error().message;
}

}  // namespace
}  // namespace soma::events
