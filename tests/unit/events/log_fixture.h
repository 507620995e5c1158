// A log folder for one test, and appends that wait.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <mutex>
#include <optional>
#include <string>

#include "events/embedded/embedded_log.h"

namespace soma::events::test {

class TempFolder {
 public:
  TempFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "soma-log-XXXXXX").string();
    if (!::mkdtemp(name.data())) std::abort();
    path_ = name;
  }
  ~TempFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }
  std::string log() const { return (path_ / "log").string(); }

 private:
  std::filesystem::path path_;
};

inline EmbeddedOptions small_log(const std::string& folder, FileOps ops = FileOps::real()) {
  EmbeddedOptions o;
  o.folder = folder;
  o.partition_count = 3;
  o.segment_bytes = 64 << 10;
  o.ops = std::move(ops);
  return o;
}

inline std::unique_ptr<Log> open_small(const std::string& folder, FileOps ops = FileOps::real()) {
  auto log = open_embedded_log(small_log(folder, std::move(ops)));
  EXPECT_TRUE(log) << (log ? "" : log.error().message);
  return log ? std::move(*log) : nullptr;
}

inline AppendReport append_wait(Log& log, PartitionId partition, std::string record) {
  std::mutex mutex;
  std::condition_variable done;
  std::optional<AppendReport> got;
  log.append(partition, std::move(record), [&](const AppendReport& report) {
    std::lock_guard lock(mutex);
    got = report;
    done.notify_all();
  });
  std::unique_lock lock(mutex);
  done.wait(lock, [&] { return got.has_value(); });
  return *got;
}

inline std::vector<std::string> read_all(const Log& log, PartitionId partition) {
  std::vector<std::string> out;
  for (Offset from{};;) {
    auto records = log.read(partition, from, 1 << 20);
    EXPECT_TRUE(records) << (records ? "" : records.error().message);
    if (!records || records->empty()) return out;
    for (auto& r : *records) {
      from = r.offset.next();
      out.push_back(std::move(r.bytes));
    }
  }
}

inline std::string read_bytes(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

inline void write_bytes(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

// What kill -9 leaves behind, of a log that still runs.
inline void copy_as_killed(const std::string& from, const std::string& to) {
  std::filesystem::remove_all(to);
  std::filesystem::create_directories(to);
  for (const auto& entry : std::filesystem::directory_iterator(from))
    if (entry.path().filename() != "lock" && entry.path().extension() != ".tmp")
      std::filesystem::copy_file(entry.path(), std::filesystem::path(to) / entry.path().filename());
}

}  // namespace soma::events::test
