// What the benchmarks of the host run on: a folder, and over it log, snapshots and host.
#pragma once

#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "events/embedded/embedded_log.h"
#include "runtime/host/host.h"
#include "runtime/host/system_clock.h"
#include "runtime/snapshots/rocks_store.h"
#include "tools/bench/servers.h"

namespace soma::bench {

using Clock = std::chrono::steady_clock;

inline double ms_since(Clock::time_point from) {
  return std::chrono::duration<double, std::milli>(Clock::now() - from).count();
}

inline double cpu_seconds() {  // of this process
  rusage u{};
  ::getrusage(RUSAGE_SELF, &u);
  const auto s = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return s(u.ru_utime) + s(u.ru_stime);
}

inline std::unique_ptr<Profile> profile_of_this(const Options& o) {
  return o.profile ? std::make_unique<Profile>(::getpid()) : nullptr;
}

// A new data folder, removed with it.
class DataFolder {
 public:
  explicit DataFolder(const std::string& parent) : path_(make_data_folder(parent)) {}
  ~DataFolder() {
    if (path_) remove_data_folder(*path_);
  }
  DataFolder(const DataFolder&) = delete;
  DataFolder& operator=(const DataFolder&) = delete;
  bool ok() const { return path_.has_value(); }
  const Error& error() const { return path_.error(); }
  const std::string& path() const { return *path_; }

 private:
  Result<std::string> path_;
};

class NoEffects final : public runtime::EffectRunner {
 public:
  void run(Job, OnOutcome) override {}
  void cancel(const std::string&) override {}
};

// Submits `count` commands, the i-th by make(i), at most `outstanding` of them under way; waits for
// all. False when one failed.
template <typename Make>
bool submit_all(runtime::Host& host, std::size_t count, std::size_t outstanding, const Make& make) {
  std::mutex mutex;
  std::condition_variable less;
  std::size_t open = 0, failed = 0;
  for (std::size_t i = 0; i < count; ++i) {
    {
      std::unique_lock lock(mutex);
      less.wait(lock, [&] { return open < outstanding; });
      ++open;
    }
    host.submit(make(i), [&](const Result<runtime::Accepted>& r) {
      std::lock_guard lock(mutex);
      failed += !r;
      --open;
      less.notify_one();
    });
  }
  std::unique_lock lock(mutex);
  less.wait(lock, [&] { return open == 0; });
  return failed == 0;
}

// Log, store and host over one folder.
struct Stack {
  std::unique_ptr<actors::Catalog> catalog = actors::standard_catalog();
  std::unique_ptr<runtime::Clock> clock = runtime::make_system_clock();
  NoEffects no_effects;
  runtime::EffectRunner* effects = &no_effects;
  std::unique_ptr<events::Log> log;
  std::unique_ptr<runtime::StateStore> store;
  std::unique_ptr<runtime::Host> host;
  double log_ms = 0, store_ms = 0;

  // Of the folder's data; at most so many active actors a partition. Observers see every frame.
  Status open(const std::string& folder, std::size_t active_limit,
              std::vector<runtime::Host::OnFrame> observers = {}) {
    auto began = Clock::now();
    events::EmbeddedOptions o;
    o.folder = folder + "/log";
    auto opened = events::open_embedded_log(std::move(o));
    if (!opened) return tl::unexpected(opened.error());
    log = std::move(*opened);
    log_ms = ms_since(began);
    began = Clock::now();
    auto rocks = runtime::open_rocks_store(folder + "/snapshots");
    if (!rocks) return tl::unexpected(rocks.error());
    store = std::move(rocks->store);
    store_ms = ms_since(began);
    runtime::HostParts parts{
        log.get(), catalog.get(),        clock.get(), effects, store.get(), "bench", {}, {},
        2,         std::move(observers), {}};
    parts.limits.active_actors_per_partition = active_limit;
    auto started = runtime::start_host(std::move(parts));
    if (!started) return tl::unexpected(started.error());
    host = std::move(*started);
    return {};
  }

  // Polled: nothing tells of a partition that begins to serve.
  Status wait_until_served() const {
    const auto serves = [this] {
      for (const auto& p : host->status())
        if (!p.serving) return false;
      return true;
    };
    for (const auto began = Clock::now(); !serves();) {
      if (ms_since(began) > 300'000)
        return fail(Code::kUnavailable, "the host did not serve within five minutes");
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return {};
  }
};

}  // namespace soma::bench
