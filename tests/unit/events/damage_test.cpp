// Bit rot against torn tails: every flipped byte is found and named; an unacknowledged write is
// cut.
#include <gtest/gtest.h>

#include <random>

#include "tests/unit/events/log_fixture.h"

namespace soma::events {
namespace {

using namespace test;
namespace fs = std::filesystem;

// Flips byte after byte of `file` in `folder`, each on its own, and opens the log.
void expect_all_flips_found(const std::string& folder, const std::string& file,
                            std::size_t step_in_zeros) {
  const fs::path path = fs::path(folder) / file;
  const std::string original = read_bytes(path);
  const std::size_t used = original.find_last_not_of('\0') + 1;
  std::mt19937 random(7);
  std::size_t tried = 0, found = 0;
  for (std::size_t byte = 0; byte < original.size(); byte += byte < used + 64 ? 1 : step_in_zeros) {
    std::string changed = original;
    changed[byte] = static_cast<char>(changed[byte] ^ (1u << (random() % 8)));
    write_bytes(path, changed);
    ++tried;
    auto log = open_embedded_log(small_log(folder));
    if (log) {
      ADD_FAILURE() << file << " byte " << byte << " of " << original.size() << " not found";
      break;
    }
    EXPECT_EQ(log.error().code, Code::kCorrupt) << log.error().message;
    EXPECT_NE(log.error().message.find(path.string() + " at byte "), std::string::npos)
        << log.error().message;
    auto verified = verify_segments(folder);
    EXPECT_TRUE(!verified || verified->damage);
    ++found;
  }
  EXPECT_EQ(found, tried);
  write_bytes(path, original);
  EXPECT_TRUE(open_embedded_log(small_log(folder)));
}

void fill(Log& log, int records, std::size_t bytes) {
  for (int i = 0; i < records; ++i)
    ASSERT_EQ(
        append_wait(log, PartitionId{static_cast<std::uint32_t>(i % 3)}, std::string(bytes, 'p'))
            .kind,
        AppendReport::Kind::kDurable);
}

TEST(Damage, EveryFlippedByteOfACleanlyClosedLogIsFound) {
  TempFolder t;
  fill(*open_small(t.log()), 12, 100);
  expect_all_flips_found(t.log(), segment_name(0), 97);
  fill(*open_small(t.log()), 1, 100);
  expect_all_flips_found(t.log(), "mark", 1);
}

TEST(Damage, EveryFlippedByteOfAKilledLogIsFound) {
  TempFolder t;
  auto log = open_small(t.log());
  fill(*log, 5, 100);
  const std::string killed = (t.path() / "killed").string();
  copy_as_killed(t.log(), killed);
  // Opening would mark the copy as closed cleanly, so each try gets a fresh one.
  const fs::path path = fs::path(killed) / segment_name(0);
  const std::string original = read_bytes(path);
  const std::string mark = read_bytes(fs::path(killed) / "mark");
  const std::size_t end = original.find_last_not_of('\0') + 1;
  for (std::size_t byte = 0; byte < original.size(); byte += byte < 2000 ? 1 : 61) {
    std::string changed = original;
    changed[byte] = static_cast<char>(changed[byte] ^ 0x40);
    write_bytes(path, changed);
    write_bytes(fs::path(killed) / "mark", mark);
    auto opened = open_embedded_log(small_log(killed));
    // Behind the last round a sector's first bytes may be all that is left of another one.
    if (byte > end && byte / 512 > end / 512 && byte % 512 < 16) {
      ASSERT_TRUE(opened) << "byte " << byte;
      continue;
    }
    ASSERT_FALSE(opened) << "byte " << byte;
    ASSERT_EQ(opened.error().code, Code::kCorrupt);
  }
}

TEST(Damage, FlipsInASealedSegmentAreFoundAndNamed) {
  TempFolder t;
  fill(*open_small(t.log()), 30, 6000);
  ASSERT_TRUE(fs::exists(fs::path(t.log()) / segment_name(2)));
  const fs::path path = fs::path(t.log()) / segment_name(1);
  const std::string original = read_bytes(path);
  for (std::size_t byte = 0; byte < original.size(); byte += 331) {
    std::string changed = original;
    changed[byte] = static_cast<char>(changed[byte] ^ 1);
    write_bytes(path, changed);
    auto opened = open_embedded_log(small_log(t.log()));
    ASSERT_FALSE(opened) << "byte " << byte;
    ASSERT_NE(opened.error().message.find(path.string()), std::string::npos)
        << opened.error().message;
  }
}

TEST(Damage, NamesTheRecordThatDoesNotCheck) {
  TempFolder t;
  std::vector<ScannedRecord> places;
  {
    auto log = open_small(t.log());
    std::atomic<int> left{50};
    for (int i = 0; i < 50; ++i)
      log->append(PartitionId{0}, std::string(200, 'x'), [&](const AppendReport&) { --left; });
  }
  ASSERT_TRUE(scan_segments(t.log(), false, [&](const ScannedRecord& r) { places.push_back(r); }));
  ASSERT_EQ(places.size(), 50u);
  const fs::path path = fs::path(t.log()) / segment_name(0);
  std::string bytes = read_bytes(path);
  bytes[places[25].byte + 40] ^= 1;
  write_bytes(path, bytes);
  auto verified = verify_segments(t.log());
  ASSERT_TRUE(verified);
  ASSERT_TRUE(verified->damage);
  EXPECT_EQ(verified->damage->file, path.string());
  EXPECT_EQ(verified->damage->byte, places[25].byte);
}

TEST(Damage, MissingTruncatedAndForeignSegmentsAreFound) {
  TempFolder t;
  fill(*open_small(t.log()), 30, 6000);
  const std::string copy = (t.path() / "copy").string();
  const auto fresh = [&] { copy_as_killed(t.log(), copy); };
  const auto expect_corrupt = [&](const char* what) {
    auto opened = open_embedded_log(small_log(copy));
    ASSERT_FALSE(opened) << what;
    EXPECT_EQ(opened.error().code, Code::kCorrupt) << what;
  };
  std::uint64_t last = 0;
  while (fs::exists(fs::path(t.log()) / segment_name(last + 1))) ++last;
  for (std::uint64_t s = 0; s <= last; ++s) {
    fresh();
    fs::remove(fs::path(copy) / segment_name(s));
    expect_corrupt("missing segment");
    fresh();
    fs::resize_file(fs::path(copy) / segment_name(s), 40000);
    expect_corrupt("truncated segment");
  }
  fresh();
  fs::copy_file(fs::path(copy) / segment_name(0), fs::path(copy) / segment_name(1),
                fs::copy_options::overwrite_existing);
  expect_corrupt("a segment twice");
  TempFolder other;
  fill(*open_small(other.log()), 30, 6000);
  fresh();
  fs::copy_file(fs::path(other.log()) / segment_name(1), fs::path(copy) / segment_name(1),
                fs::copy_options::overwrite_existing);
  expect_corrupt("a segment of another log");
}

// A write that was under way when the power went: the mark does not know of it.
class TornTail : public testing::Test {
 protected:
  void SetUp() override {
    auto log = open_small(t_.log());
    fill(*log, 4, 300);
    mark_ = read_bytes(fs::path(t_.log()) / "mark");
    before_ = read_bytes(path());
    ASSERT_EQ(append_wait(*log, PartitionId{0}, std::string(3000, 'q')).kind,
              AppendReport::Kind::kDurable);
    after_ = read_bytes(path());
    begin_ = before_.find_last_not_of('\0') + 1;
    end_ = after_.find_last_not_of('\0') + 1;
  }
  fs::path path() const { return fs::path(t_.log()) / segment_name(0); }
  // Opens with these segment bytes and the mark as of before the write; how many records partition
  // 0 has.
  std::optional<std::size_t> open_with(const std::string& bytes) {
    write_bytes(path(), bytes);
    write_bytes(fs::path(t_.log()) / "mark", mark_);
    auto log = open_embedded_log(small_log(t_.log()));
    if (!log) return {};
    const std::size_t n = read_all(**log, PartitionId{0}).size();
    EXPECT_EQ(append_wait(**log, PartitionId{1}, "on").kind, AppendReport::Kind::kDurable);
    log->reset();
    EXPECT_FALSE(verify_segments(t_.log())->damage);
    return n;
  }
  TempFolder t_;
  std::string mark_, before_, after_;
  std::size_t begin_ = 0, end_ = 0;
};

TEST_F(TornTail, IsCutWhereverTheWriteEnded) {
  for (std::size_t cut = begin_; cut < end_; ++cut) {
    const auto n = open_with(after_.substr(0, cut) + std::string(after_.size() - cut, '\0'));
    ASSERT_EQ(n, 2u) << "cut at " << cut - begin_;
  }
  EXPECT_EQ(open_with(after_), 3u);
}

TEST_F(TornTail, IsCutWhicheverSectorsWereWritten) {
  const std::size_t first = begin_ / 512, last = (end_ - 1) / 512;
  for (std::uint32_t kept = 0; kept + 1 < 1u << (last - first + 1); ++kept) {
    std::string bytes = after_;
    for (std::size_t s = first; s <= last; ++s)
      if (!(kept >> (s - first) & 1)) bytes.replace(s * 512, 512, before_, s * 512, 512);
    ASSERT_EQ(open_with(bytes), 2u) << "sectors " << kept;
  }
}

// Rounds that end behind each byte of a sector, of which the last sector alone was written.
TEST(Damage, ALastSectorAloneIsATornTailHoweverLittleItHolds) {
  std::size_t shortest = 512;
  for (std::size_t size = 1000; size < 1512; ++size) {
    TempFolder t;
    auto log = open_small(t.log());
    fill(*log, 2, 300);
    const std::string mark = read_bytes(fs::path(t.log()) / "mark");
    const fs::path path = fs::path(t.log()) / segment_name(0);
    std::string bytes = read_bytes(path);
    ASSERT_EQ(append_wait(*log, PartitionId{0}, std::string(size, 'q')).kind,
              AppendReport::Kind::kDurable);
    const std::string after = read_bytes(path);
    log.reset();
    const std::size_t last = after.find_last_not_of('\0') / 512 * 512;
    shortest = std::min(shortest, after.find_last_not_of('\0') + 1 - last);
    bytes.replace(last, 512, after, last, 512);
    write_bytes(path, bytes);
    write_bytes(fs::path(t.log()) / "mark", mark);
    ASSERT_TRUE(open_embedded_log(small_log(t.log()))) << size << " bytes";
  }
  EXPECT_EQ(shortest, 1u);
}

TEST_F(TornTail, IsNotWhatALaterRoundProves) {
  std::string bytes = after_;
  bytes[begin_ - 1] ^= 1;  // the round before the last one
  EXPECT_EQ(open_with(bytes), std::nullopt);
}

TEST_F(TornTail, IsNotAStrayByte) {
  for (std::size_t byte : {begin_, begin_ + 3, begin_ + 40, begin_ + 600, before_.size() - 1}) {
    std::string bytes = before_;
    bytes[byte] = 0x11;
    EXPECT_EQ(open_with(bytes), std::nullopt) << byte - begin_;
  }
}

// Content that imitates a round behind the torn one must not turn it into damage.
TEST(Damage, StoredContentCannotPassForARound) {
  TempFolder t;
  std::string fake(sizeof(RoundHeader), '\0');
  put_record(fake, 0, 0, "fake");
  seal_round(fake, 1000, 1, 0);
  std::string mark, after;
  std::size_t begin = 0;
  const fs::path path = fs::path(t.log()) / segment_name(0);
  {
    auto log = open_small(t.log());
    fill(*log, 1, 10);
    mark = read_bytes(fs::path(t.log()) / "mark");
    begin = read_bytes(path).find_last_not_of('\0') + 1;
    append_wait(*log, PartitionId{0}, fake + fake);
    after = read_bytes(path);
  }
  after[begin] = after[begin + 1] = after[begin + 2] =
      '\0';  // the header is torn, the content is there
  after[begin + 3] = '\0';
  for (std::size_t i = begin; i < (begin / 512 + 1) * 512 && i < begin + sizeof(RoundHeader); ++i)
    after[i] = '\0';
  write_bytes(path, after);
  write_bytes(fs::path(t.log()) / "mark", mark);
  auto opened = open_embedded_log(small_log(t.log()));
  // Too close to the tail to be another sector's: damage by that rule, never "a later round".
  if (!opened) {
    EXPECT_EQ(opened.error().message.find("later"), std::string::npos) << opened.error().message;
  }
}

}  // namespace
}  // namespace soma::events
