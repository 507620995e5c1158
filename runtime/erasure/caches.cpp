// Dropped whole: finer sweeps could miss something.
#include "runtime/erasure/caches.h"

#include <atomic>
#include <chrono>
#include <filesystem>
#include <map>
#include <memory>
#include <thread>

#include "runtime/security/private_file.h"

namespace soma::runtime::erasure {

namespace fs = std::filesystem;

namespace {

constexpr auto kPoll = std::chrono::milliseconds(20);

std::map<PartitionId, Host::PartitionStatus> here(const PartitionHost& host) {
  std::map<PartitionId, Host::PartitionStatus> out;
  for (auto& p : host.status()) out[p.partition] = std::move(p);
  return out;
}

// The store's loss makes every partition drop its memory and read the log again.
Result<Epochs> drop_states(const Caches& c) {
  Epochs before;
  for (const auto& [id, p] : here(*c.host)) before[id] = p.epoch;
  if (auto ok = c.store->drop_all(); !ok) return tl::unexpected(ok.error());
  std::error_code error;
  fs::remove_all(c.data_dir + "/snapshots.damaged", error);
  for (const auto& [id, epoch] : before)  // a round of each partition, so that it notices at once
    c.host->read({"$erasure", "counter", "none", "#" + std::to_string(id.value)},
                 [](Result<StateView>) {});
  c.host->look_all();
  return before;
}

// A partition that is given to another node meanwhile has dropped its memory, too.
Status wait_states(const Caches& c, const Epochs& before, const Stopping& stopping) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(kStoresMs);
  for (bool all = false; !all;) {
    if (stopping()) return fail(Code::kCancelled, "the node is stopping");
    if (std::chrono::steady_clock::now() > until)
      return fail(Code::kDeadlineExceeded, "not every partition was read again in time");
    const auto now = here(*c.host);
    all = true;
    for (const auto& [id, epoch] : before) {
      const auto it = now.find(id);
      all &= it == now.end() || (it->second.serving && it->second.epoch > epoch);
    }
    for (const auto& standby : c.host->standbys())
      all &= standby.generation == c.store->generation();
    if (!all) std::this_thread::sleep_for(kPoll);
  }
  return {};
}

Status wait_memory(const MemoryIndex& memory, const Stopping& stopping) {
  enum Answer : std::uint8_t { kNone, kLater, kSettled };
  const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(kStoresMs);
  auto answer = std::make_shared<std::atomic<Answer>>(kLater);
  while (*answer != kSettled) {
    if (stopping()) return fail(Code::kCancelled, "the node is stopping");
    if (std::chrono::steady_clock::now() > until)
      return fail(Code::kDeadlineExceeded, "the memory index was not made anew in time");
    if (*answer == kLater) {
      *answer = kNone;
      memory.when_settled({}, [answer](bool settled) { *answer = settled ? kSettled : kLater; });
    }
    if (*answer != kSettled) std::this_thread::sleep_for(kPoll);
  }
  return {};
}

}  // namespace

Work work_of(const Caches& c) {
  return {[c] { return drop_states(c); },
          [c](const Epochs& before, const Stopping& stopping) {
            return wait_states(c, before, stopping);
          },
          [c] { c.memory->start_over(0); },
          [c](const Stopping& stopping) { return wait_memory(*c.memory, stopping); },
          c.projections};
}

Status made_anew(const Work& work, Remaking& remaking, const Stopping& stopping) {
  if (auto ok = work.wait_states(remaking.before, stopping); !ok) return ok;
  if (!remaking.memory) work.drop_memory();
  remaking.memory = true;
  return work.wait_memory(stopping);
}

Status remove_snapshots(const std::string& data_dir) {
  std::error_code error;
  for (const char* name : {"/snapshots", "/snapshots.damaged"}) {
    fs::remove_all(data_dir + name, error);
    if (error) return fail(Code::kIo, "cannot remove " + data_dir + name + ": " + error.message());
  }
  return security::sync_folder(data_dir);
}

}  // namespace soma::runtime::erasure
