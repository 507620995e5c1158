// New segments get their index first, for they decide how long the next start takes; then what was
// not read yet.
#include "events/embedded/caretaker.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "events/embedded/sealed_index.h"
#include "schemas/base/thread_name.h"

namespace soma::events {

namespace {

// One segment read in full, as what its index should say.
Result<SealedIndex> read_segment(const std::string& folder, std::uint64_t segment,
                                 const LogState& before, const std::atomic<bool>& stop) {
  SealedIndex index;
  index.segment = segment;
  index.before = before;
  const auto scan = scan_full_segment(folder, segment, before, stop,
                                      [&](const ScannedRecord& r) { index.records.push_back(r); });
  if (!scan) return tl::unexpected(scan.error());
  if (scan->damage) return fail(Code::kCorrupt, to_string(*scan->damage));
  index.size = scan->segment_size;
  index.last_round = scan->last_round;
  if (segment == 0) {
    index.before.partition_count = scan->partition_count;
    index.before.salt = scan->salt;
    index.before.offsets.assign(scan->partition_count, 0);
  }
  return index;
}

}  // namespace

Caretaker::Caretaker(std::string folder, std::uint64_t unread, LogState state, OnDamage on_damage)
    : folder_(std::move(folder)),
      unread_(unread),
      on_damage_(std::move(on_damage)),
      sealed_state_(std::move(state)),
      to_seal_(unread),
      thread_([this] { loop(); }) {}

Caretaker::~Caretaker() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void Caretaker::full_below(std::uint64_t current) {
  {
    std::lock_guard lock(mutex_);
    current_ = std::max(current_, current);
  }
  changed_.notify_all();
}

void Caretaker::wait() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return idle_for_ == current_ || failed_; });
}

void Caretaker::loop() {
  name_thread("soma-caretaker");
  ::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), 19);  // refused: it works all the same
  bool sealing = false;
  std::uint64_t segment = 0;
  while (next(sealing, segment))
    if (!(sealing ? seal(segment) : reread(segment))) return;
}

// The next segment to look after; false when it is time to end.
bool Caretaker::next(bool& sealing, std::uint64_t& segment) {
  std::unique_lock lock(mutex_);
  for (;;) {
    if (stopping_) return false;
    sealing = to_seal_ < current_;
    segment = sealing ? to_seal_ : to_reread_;
    if (sealing || to_reread_ < unread_) return true;
    idle_for_ = current_;
    changed_.notify_all();
    changed_.wait(lock, [&] { return stopping_ || idle_for_ != current_; });
  }
}

bool Caretaker::seal(std::uint64_t segment) {
  auto index = read_sealed_index(folder_, segment);
  if (!index) {
    auto read = read_segment(folder_, segment, sealed_state_, stopping_);
    if (!read) return damaged(read.error());
    // Not vital: without it the next start reads the segment.
    (void)write_sealed_index(folder_, *read);
    index = std::move(*read);
  }
  sealed_state_ = index->after();
  ++to_seal_;
  return true;
}

bool Caretaker::reread(std::uint64_t segment) {
  auto read = read_segment(folder_, segment, reread_state_, stopping_);
  if (!read) return damaged(read.error());
  const auto index = read_sealed_index(folder_, segment);
  if (index && encode_sealed_index(*index) != encode_sealed_index(*read)) {
    const std::string path = sealed_index_path(folder_, segment);
    std::error_code ignored;
    std::filesystem::remove(path, ignored);  // the next start reads the segment itself
    return damaged({Code::kCorrupt,
                    path + " at byte 0: it does not tell what its segment holds; removed, restart",
                    {}});
  }
  reread_state_ = read->after();
  ++to_reread_;
  return true;
}

bool Caretaker::damaged(Error error) {
  if (stopping_) return false;
  on_damage_(std::move(error));  // before whoever waits goes on
  {
    std::lock_guard lock(mutex_);
    failed_ = true;
  }
  changed_.notify_all();
  return false;
}

}  // namespace soma::events
