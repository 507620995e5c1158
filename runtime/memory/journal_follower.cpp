// A queue, a fence per partition, and the log for the rest.
#include "runtime/memory/journal_follower.h"

namespace soma::runtime {

namespace {
// How soon frames that no host of this node committed are seen.
constexpr auto kLook = std::chrono::milliseconds(200);
}  // namespace

JournalFollower::JournalFollower(const events::Log& log, Take take, From from,
                                 std::vector<events::Bookmark> marks)
    : log_(log), take_(std::move(take)), from_(from) {
  marks.resize(log.partition_count());
  for (std::uint32_t p = 0; p < log.partition_count(); ++p) {
    at_start_[p] = log.end(PartitionId{p});
    next_[p] = marks[p].next;
    marks_[p] = std::move(marks[p]);
  }
  if (from_ == From::kLog)
    subscription_ = const_cast<events::Log&>(log_).follow([this](PartitionId p) {
      {
        std::lock_guard lock(mutex_);
        grown_.insert(p.value);
      }
      changed_.notify_one();
    });
  thread_ = std::thread([this] { run(); });
}

JournalFollower::~JournalFollower() { stop(); }

void JournalFollower::stop() {
  if (subscription_ != 0) const_cast<events::Log&>(log_).unfollow(std::exchange(subscription_, 0));
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  moved_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void JournalFollower::observed(const events::ValidFrame& frame) {
  if (from_ == From::kLog) return;
  const std::size_t bytes = frame.frame->ByteSizeLong();
  {
    std::lock_guard lock(mutex_);
    ++observed_;
    if (queue_.size() >= kMaxQueue || queue_bytes_ + bytes > kMaxQueueBytes) {
      overflow_ = true;
    } else {
      queue_.push_back({frame, bytes});
      queue_bytes_ += bytes;
    }
    if (queue_.size() > 1) return;  // it is awake
  }
  changed_.notify_one();
}

bool JournalFollower::settled_at(std::uint64_t observed, const Ends& ends) const {
  if (done_ < observed) return false;
  for (const auto& [p, end] : ends)
    if (next_.at(p) < end) return false;
  return true;
}

bool JournalFollower::settle(std::int64_t timeout_ms) const {
  Ends ends;
  {
    std::lock_guard lock(mutex_);
    ends = at_start_;
  }
  if (from_ == From::kLog)
    for (auto& [p, end] : ends) end = log_.end(PartitionId{p});
  std::unique_lock lock(mutex_);
  const std::uint64_t observed = observed_;
  moved_.wait_for(lock, std::chrono::milliseconds(timeout_ms),
                  [&] { return settled_at(observed, ends) || stopping_; });
  return settled_at(observed, ends);
}

bool JournalFollower::wait_for(Position position, std::int64_t timeout_ms) const {
  std::unique_lock lock(mutex_);
  const auto reached = [&] {
    auto it = next_.find(position.partition.value);
    return it != next_.end() && it->second > position.offset;
  };
  moved_.wait_for(lock, std::chrono::milliseconds(timeout_ms),
                  [&] { return reached() || stopping_; });
  return reached();
}

Offset JournalFollower::next(PartitionId partition) const {
  std::lock_guard lock(mutex_);
  auto it = next_.find(partition.value);
  return it == next_.end() ? Offset{} : it->second;
}

JournalFollower::Progress JournalFollower::progress() const {
  std::lock_guard lock(mutex_);
  Progress out;
  for (const auto& [p, next] : next_) {
    out.taken += next.value;
    out.total += log_.end(PartitionId{p}).value;
  }
  out.problem = problem_;
  return out;
}

bool JournalFollower::stopping() const {
  std::lock_guard lock(mutex_);
  return stopping_;
}

void JournalFollower::took(std::uint32_t partition) {
  {
    std::lock_guard lock(mutex_);
    if (!clear_) next_[partition] = marks_[partition].next;  // else it is to be read again
  }
  moved_.notify_all();
}

Status JournalFollower::read_log(std::uint32_t partition, Offset until) {
  auto& mark = marks_[partition];
  while (mark.next < until) {
    if (stopping()) return {};
    events::FrameReader reader(log_, PartitionId{partition}, mark);
    auto frames = reader.next(1 << 20);
    if (!frames) return tl::unexpected(frames.error());
    for (const auto& frame : *frames) take_(frame);
    const bool stuck = reader.next_offset() == mark.next;
    mark = reader.bookmark();
    took(partition);
    if (stuck) break;
  }
  return {};
}

// The fence admits it where it is the very next one; then nothing stands between.
Status JournalFollower::offer(const events::ValidFrame& frame) {
  const std::uint32_t p = frame.position.partition.value;
  auto& mark = marks_[p];
  if (frame.position.offset < mark.next) return {};  // read from the log already
  events::Fence fence = mark.fence;
  if (frame.frame->number() == 0 || mark.last_hash.empty() ||
      fence.admit(*frame.frame, frame.hash) != events::Verdict::kValid)
    return read_log(p, frame.position.offset.next());
  take_(frame);
  mark = {frame.position.offset.next(), std::move(fence), frame.position.offset, frame.hash};
  took(p);
  return {};
}

void JournalFollower::start_over(std::function<void()> clear) {
  {
    std::lock_guard lock(mutex_);
    clear_ = std::move(clear);
    queue_.clear();
    queue_bytes_ = 0;
    for (auto& [p, next] : next_) {
      at_start_[p] = log_.end(PartitionId{p});
      next = Offset{};
    }
  }
  changed_.notify_all();
}

// Frames that came meanwhile are read from the log with the rest.
void JournalFollower::forget() {
  std::function<void()> clear;
  {
    std::lock_guard lock(mutex_);
    clear.swap(clear_);
    if (!clear) return;
    queue_.clear();
    queue_bytes_ = 0;
    for (auto& [p, next] : next_) next = Offset{};
  }
  clear();
  marks_.clear();
}

void JournalFollower::run() {
  bool look = true;  // at first, and whenever nothing came for a while
  for (;;) {
    Status ok;
    {
      std::lock_guard lock(mutex_);
      look |= clear_ != nullptr;
    }
    forget();
    for (const auto& [p, end] : at_start_)
      if (look && ok) ok = read_log(p, log_.end(PartitionId{p}));
    std::deque<Waiting> frames;
    std::uint64_t observed = 0;
    bool overflow = false;
    std::set<std::uint32_t> grown;
    {
      std::unique_lock lock(mutex_);
      problem_ = ok ? "" : ok.error().message;
      look = !changed_.wait_for(
          lock, kLook, [&] { return !queue_.empty() || !grown_.empty() || stopping_ || clear_; });
      if (stopping_) return;
      if (clear_) continue;
      frames.swap(queue_);
      queue_bytes_ = 0;
      observed = observed_;
      overflow = std::exchange(overflow_, false);
      grown.swap(grown_);
    }
    for (const std::uint32_t p : grown)
      if (ok) ok = read_log(p, log_.end(PartitionId{p}));
    for (; ok && !frames.empty() && !stopping(); frames.pop_front())
      ok = offer(frames.front().frame);
    look |= overflow || !ok;
    if (overflow && ok)
      for (const auto& [p, end] : at_start_)
        if (ok) ok = read_log(p, log_.end(PartitionId{p}));
    if (!ok) continue;  // what is not taken stays ahead of the marks: the log has it
    {
      std::lock_guard lock(mutex_);
      if (stopping_) return;
      done_ = observed;
    }
    moved_.notify_all();
  }
}

}  // namespace soma::runtime
