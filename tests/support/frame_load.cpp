// The load's loop and its judge.
#include "tests/support/frame_load.h"

#include <chrono>
#include <set>

namespace soma::support {

using events::FrameReader;
using events::FrameWriter;

FrameLoad::FrameLoad(events::Log& log, PartitionId partition, std::uint32_t id,
                     std::size_t in_flight)
    : log_(log), partition_(partition), id_(id), limit_(in_flight), thread_([this] { run(); }) {}

FrameLoad::~FrameLoad() { stop(); }

void FrameLoad::stop() {
  stopping_ = true;
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

std::map<std::int64_t, Position> FrameLoad::acknowledged() const {
  std::lock_guard lock(mutex_);
  return acknowledged_;
}

std::size_t FrameLoad::count() const {
  std::lock_guard lock(mutex_);
  return acknowledged_.size();
}

void FrameLoad::run() {
  while (!stopping_) {
    if (!claim()) {  // the log is down, or another owner was quicker
      std::unique_lock lock(mutex_);
      changed_.wait_for(lock, std::chrono::milliseconds(20), [&] { return stopping_.load(); });
      continue;
    }
    append_all();
    writer_.reset();
  }
}

bool FrameLoad::claim() {
  FrameReader reader(log_, partition_);
  // Not to the very end: another owner may write as fast as this one reads.
  const Offset end = log_.end(partition_);
  while (reader.next_offset() < end) {
    auto frames = reader.next();
    if (!frames) return false;
    if (frames->empty()) break;
  }
  v1::Claim claim;
  claim.set_node_id("load" + std::to_string(id_));
  auto writer = FrameWriter::claim(log_, reader, std::move(claim), 1, nullptr);
  if (!writer) return false;
  writer_ = std::move(*writer);
  ++claims_;
  return true;
}

void FrameLoad::append_all() {
  std::unique_lock lock(mutex_);
  failed_ = false;
  for (;;) {
    changed_.wait(lock, [&] { return stopping_ || failed_ || in_flight_ < limit_; });
    if (stopping_ || failed_) break;
    const std::int64_t number = (static_cast<std::int64_t>(id_) << 40) + ++next_;
    v1::Frame frame;
    frame.set_time_ms(number);
    ++in_flight_;
    lock.unlock();
    writer_->append(std::move(frame), [this, number](const FrameWriter::Outcome& outcome) {
      std::lock_guard guard(mutex_);
      --in_flight_;
      if (outcome.valid)
        acknowledged_.emplace(number, outcome.frame.position);
      else
        failed_ = true;
      changed_.notify_all();
    });
    lock.lock();
  }
  changed_.wait(lock, [&] { return in_flight_ == 0; });
}

Judgement judge(const events::Log& log, PartitionId partition,
                const std::map<std::int64_t, Position>& acknowledged) {
  Judgement out;
  std::map<std::int64_t, Position> valid;
  FrameReader reader(log, partition);
  for (;;) {
    auto frames = reader.next();
    if (!frames) {
      out.problem = frames.error().message;
      return out;
    }
    if (frames->empty()) break;
    for (const auto& f : *frames)
      if (!f.frame->has_claim() && !valid.emplace(f.frame->time_ms(), f.position).second)
        out.problem = "frame " + std::to_string(f.frame->time_ms()) + " is valid twice";
  }
  out.valid = valid.size();
  out.voided = reader.voided();
  for (const auto& [number, position] : acknowledged) {
    const auto it = valid.find(number);
    if (it == valid.end())
      out.problem = "acknowledged frame " + std::to_string(number) + " is lost";
    else if (it->second != position)
      out.problem = "frame " + std::to_string(number) + " was said to be at " +
                    to_string(position) + " and is at " + to_string(it->second);
  }
  return out;
}

bool eventually(const std::function<bool()>& done, int seconds) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  std::mutex mutex;
  std::condition_variable never;
  std::unique_lock lock(mutex);
  while (!done()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    never.wait_for(lock, std::chrono::milliseconds(2));
  }
  return true;
}

}  // namespace soma::support
