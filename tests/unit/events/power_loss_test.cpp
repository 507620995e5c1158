// Power cuts at every system call: any mix of unsynced writes may survive, acknowledged records
// must.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <map>
#include <random>

#include "tests/unit/events/log_fixture.h"

namespace soma::events {
namespace {

using namespace test;
namespace fs = std::filesystem;

// Knows of each file what is surely on the disk and what only may be. Files are told apart by
// inode.
class RecordingDisk {
 public:
  RecordingDisk(std::string folder, bool sync_works, std::function<void()> before_call)
      : folder_(std::move(folder)), sync_works_(sync_works), before_call_(std::move(before_call)) {}

  FileOps ops() {
    const FileOps real = FileOps::real();
    FileOps o;
    o.write_at = [this, real](int fd, const void* data, std::size_t size, off_t at) {
      before_call_();
      std::lock_guard lock(mutex_);
      files_[inode(fd)].maybe.push_back(
          {static_cast<std::size_t>(at), std::string(static_cast<const char*>(data), size)});
      return real.write_at(fd, data, size, at);
    };
    o.reserve = [this, real](int fd, std::size_t size) {
      std::lock_guard lock(mutex_);
      files_[inode(fd)] = File{};  // a new file, perhaps under the inode of a dead one
      return real.reserve(fd, size);
    };
    o.sync_data = [this](int fd) {
      before_call_();
      std::lock_guard lock(mutex_);
      if (!sync_works_) return 0;
      File& file = files_[inode(fd)];
      for (const Write& w : file.maybe) apply(file.sure, w.at, w.data);
      file.maybe.clear();
      return 0;
    };
    o.rename = [this, real](const std::string& from, const std::string& to) {
      before_call_();
      std::lock_guard lock(mutex_);
      return real.rename(from, to);
    };
    o.sync_folder = [this](const std::string& folder) {
      before_call_();
      std::lock_guard lock(mutex_);
      if (sync_works_ && folder == folder_) sure_names_ = names();
      return 0;
    };
    return o;
  }

  // One of the disks that may be found after a power cut now.
  void write_image(const std::string& to, std::mt19937& random) {
    std::lock_guard lock(mutex_);
    fs::remove_all(to);
    fs::create_directories(to);
    const auto chosen = random() % 2 ? names() : sure_names_;
    for (const auto& [name, ino] : chosen) {
      if (name == "lock") continue;
      const File& file = files_[ino];
      std::string bytes = file.sure;
      for (const Write& w : file.maybe) keep_some(bytes, w, name != "mark", random);
      write_bytes(fs::path(to) / name, bytes);
    }
  }

 private:
  struct Write {
    std::size_t at;
    std::string data;
  };
  struct File {
    std::string sure;
    std::vector<Write> maybe;
  };

  static ino_t inode(int fd) {
    struct stat st {};
    if (::fstat(fd, &st) != 0) std::abort();
    return st.st_ino;
  }

  static void apply(std::string& bytes, std::size_t at, std::string_view data) {
    if (bytes.size() < at + data.size()) bytes.resize(at + data.size(), '\0');
    bytes.replace(at, data.size(), data);
  }

  // Segments may tear at any byte. The mark lies within one sector, which disks write whole.
  static void keep_some(std::string& bytes, const Write& w, bool may_tear, std::mt19937& random) {
    const std::string_view data = w.data;
    switch (random() % (may_tear ? 4 : 2)) {
      case 0:
        return;
      case 1:
        return apply(bytes, w.at, data);
      case 2:
        return apply(bytes, w.at, data.substr(0, random() % (data.size() + 1)));
      default:  // whole sectors, any of them
        for (std::size_t at = w.at; at < w.at + data.size();) {
          const std::size_t end = std::min((at / 512 + 1) * 512, w.at + data.size());
          if (random() % 2) apply(bytes, at, data.substr(at - w.at, end - at));
          at = end;
        }
    }
  }

  std::map<std::string, ino_t> names() const {
    std::map<std::string, ino_t> out;
    for (const auto& entry : fs::directory_iterator(folder_)) {
      struct stat st {};
      if (::stat(entry.path().c_str(), &st) == 0) out[entry.path().filename()] = st.st_ino;
    }
    return out;
  }

  const std::string folder_;
  const bool sync_works_;
  const std::function<void()> before_call_;
  std::mutex mutex_;
  std::map<ino_t, File> files_;
  std::map<std::string, ino_t> sure_names_;
};

struct Tally {
  int images = 0;
  int refused = 0;  // did not open
  int lost = 0;     // opened without an acknowledged record, or with a wrong one
  std::string first;
};

std::string record_number(std::uint64_t n) {
  std::string record = std::to_string(n) + ":";
  std::mt19937 random(static_cast<std::uint32_t>(n));
  record.resize(record.size() + random() % 3000, static_cast<char>('a' + n % 26));
  return record;
}

// Opens an image as the next process would, with `acked` records promised.
void check_image(const std::string& image, std::uint64_t acked, Tally& tally) {
  FileOps quick = FileOps::real();  // the images are our own; syncing them proves nothing
  quick.sync_data = [](int) { return 0; };
  quick.sync_folder = [](const std::string&) { return 0; };
  ++tally.images;
  auto log = open_embedded_log(small_log(image, quick));
  if (!log) {
    ++tally.refused;
    if (tally.first.empty()) tally.first = log.error().message;
    return;
  }
  const auto found = read_all(**log, PartitionId{0});
  bool ok = found.size() >= acked;
  for (std::uint64_t i = 0; ok && i < found.size(); ++i) ok = found[i] == record_number(i);
  if (ok) return;
  ++tally.lost;
  if (tally.first.empty())
    tally.first =
        std::to_string(found.size()) + " records of " + std::to_string(acked) + " acknowledged";
}

// Runs a log, cutting the power now and then in front of a system call.
Tally cut_power(bool sync_works, int images, std::uint32_t seed) {
  Tally tally;
  TempFolder t;
  const std::string image = (t.path() / "image").string();
  std::mt19937 random(seed);
  std::mutex cutting;
  std::atomic<std::uint64_t> acked{0};
  RecordingDisk* disk_now = nullptr;
  const auto cut = [&] {
    std::lock_guard lock(cutting);
    if (!disk_now || tally.images >= images || random() % 3 != 0) return;
    const std::uint64_t promised =
        acked;  // before the image is taken: all of these were synced by now
    disk_now->write_image(image, random);
    check_image(image, promised, tally);
  };
  while (tally.images < images) {
    fs::remove_all(t.log());
    acked = 0;
    RecordingDisk disk(t.log(), sync_works, cut);
    {
      std::lock_guard lock(cutting);
      disk_now = &disk;
    }
    auto log = open_small(t.log(), disk.ops());
    std::uint64_t next = 0;
    for (int round = 0; round < 40 && log; ++round) {
      for (std::uint32_t burst = 1 + seed++ % 3; burst > 1; --burst)
        log->append(PartitionId{0}, record_number(next++), [&](const AppendReport& r) {
          acked += r.kind == AppendReport::Kind::kDurable;
        });
      log->append(PartitionId{1}, record_number(round), [](const AppendReport&) {});
      const auto report = append_wait(*log, PartitionId{0}, record_number(next++));
      EXPECT_EQ(report.kind, AppendReport::Kind::kDurable);
      ++acked;
    }
    log.reset();
    std::lock_guard lock(cutting);
    disk_now = nullptr;
  }
  return tally;
}

TEST(PowerLoss, AcknowledgedRecordsSurviveEveryImage) {
  const Tally tally = cut_power(true, 600, 11);
  EXPECT_EQ(tally.images, 600);
  EXPECT_EQ(tally.refused, 0) << tally.first;
  EXPECT_EQ(tally.lost, 0) << tally.first;
}

// The control: with syncs that do nothing the same test must see losses, else it sees nothing.
TEST(PowerLoss, TheTestSeesALogThatDoesNotSync) {
  const Tally tally = cut_power(false, 60, 11);
  EXPECT_GT(tally.lost, 0);
  EXPECT_GT(tally.lost + tally.refused, 10);
}

}  // namespace
}  // namespace soma::events
