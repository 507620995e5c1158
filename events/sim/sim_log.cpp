// The simulated log: a queue of appends, and what the script does to each.
#include "events/sim/sim_log.h"

#include <algorithm>
#include <cstdlib>

namespace soma::events {

SimLog::SimLog(SimOptions options) : parts_(options.partition_count) {}

SimLog::Partition& SimLog::part(PartitionId partition) {
  if (partition.value >= parts_.size())
    std::abort();  // checked by the callers that take outside input
  return parts_[partition.value];
}

const SimLog::Partition* SimLog::find(PartitionId partition) const {
  return partition.value < parts_.size() ? &parts_[partition.value] : nullptr;
}

void SimLog::append(PartitionId partition, std::string record, OnReport on_report) {
  if (!health_ || !find(partition)) {
    Error error =
        health_ ? Error{Code::kInvalidArgument, "no such partition", {}} : health_.error();
    return on_report({AppendReport::Kind::kRefused, {}, std::move(error)});
  }
  const std::uint64_t nth = part(partition).appends++;
  const SimFault fault = script_ ? script_(partition, nth) : SimFault::kNone;
  queue_.push_back({partition, std::move(record), std::move(on_report), fault});
}

Result<std::vector<Record>> SimLog::read(PartitionId partition, Offset from,
                                         std::size_t max_bytes) const {
  const Partition* p = find(partition);
  if (!p) return fail(Code::kInvalidArgument, "no partition " + std::to_string(partition.value));
  std::vector<Record> out;
  std::size_t bytes = 0;
  auto it = std::lower_bound(p->records.begin(), p->records.end(), from,
                             [](const Record& r, Offset o) { return r.offset < o; });
  for (; it != p->records.end() && (out.empty() || bytes + it->bytes.size() <= max_bytes); ++it) {
    bytes += it->bytes.size();
    out.push_back(*it);
  }
  return out;
}

Offset SimLog::end(PartitionId partition) const {
  const Partition* p = find(partition);
  return p ? p->next : Offset{};
}

std::uint64_t SimLog::follow(std::function<void(PartitionId)> on_grow) {
  followers_[++next_follower_] = std::move(on_grow);
  return next_follower_;
}

void SimLog::unfollow(std::uint64_t subscription) { followers_.erase(subscription); }

bool SimLog::pump() {
  step();
  return true;
}

bool SimLog::step() {
  if (queue_.empty()) return release_one();
  Append next = std::move(queue_.front());
  queue_.pop_front();
  complete(std::move(next));
  return true;
}

bool SimLog::step(PartitionId partition) {
  auto it = std::find_if(queue_.begin(), queue_.end(),
                         [&](const Append& a) { return a.partition == partition; });
  if (it == queue_.end()) return false;
  Append next = std::move(*it);
  queue_.erase(it);
  complete(std::move(next));
  return true;
}

void SimLog::run() {
  while (step()) {
  }
}

std::size_t SimLog::delayed() const {
  std::size_t n = 0;
  for (const Partition& p : parts_) n += p.delayed.size();
  return n;
}

Offset SimLog::store(PartitionId partition, std::string record) {
  Partition& p = part(partition);
  const Offset offset = p.next;
  p.records.push_back({offset, std::move(record)});
  p.next = offset.next();
  return offset;
}

void SimLog::complete(Append a) {
  Partition& p = part(a.partition);
  const Offset before = p.next;
  AppendReport report;
  report.kind = AppendReport::Kind::kDurable;
  const auto unknown = [&](const char* why) {
    report = {AppendReport::Kind::kUnknown, {}, {Code::kUnknownOutcome, why, {}}};
  };
  switch (a.fault) {
    case SimFault::kNone:
    case SimFault::kDelayedAck:
      report.offset = store(a.partition, std::move(a.record));
      break;
    case SimFault::kLostAck:
      store(a.partition, std::move(a.record));
      unknown("simulated: the report was lost");
      break;
    case SimFault::kLate:
      late_.emplace_back(a.partition, std::move(a.record));
      unknown("simulated: timed out");
      break;
    case SimFault::kNoOffset:
      store(a.partition, std::move(a.record));
      break;
    case SimFault::kDuplicate:
      store(a.partition, a.record);
      report.offset = store(a.partition, std::move(a.record));
      break;
    case SimFault::kGap:
      p.next = p.next.next();
      report.offset = store(a.partition, std::move(a.record));
      break;
    case SimFault::kRefused:
      report = {AppendReport::Kind::kRefused, {}, {Code::kStorageFull, "simulated: refused", {}}};
      break;
    case SimFault::kLost:
      unknown("simulated: the record was lost");
      break;
  }
  const bool grew = p.next != before;
  // Reports of one partition keep their order, so one that waits holds up those behind it.
  if (a.fault == SimFault::kDelayedAck || !p.delayed.empty())
    p.delayed.push_back({std::move(a.on_report), std::move(report)});
  else
    a.on_report(report);
  if (!grew) return;
  const auto followers = followers_;  // a call may follow or unfollow
  for (const auto& [id, on_grow] : followers) on_grow(a.partition);
}

bool SimLog::release_one() {
  for (Partition& p : parts_) {
    if (p.delayed.empty()) continue;
    const Ack ack = std::move(p.delayed.front());
    p.delayed.pop_front();
    ack.on_report(ack.report);
    return true;
  }
  return false;
}

void SimLog::put_foreign(PartitionId partition, std::string record) {
  store(partition, std::move(record));
  const auto followers = followers_;
  for (const auto& [id, on_grow] : followers) on_grow(partition);
}

bool SimLog::land_late() {
  if (late_.empty()) return false;
  auto [partition, record] = std::move(late_.front());
  late_.pop_front();
  put_foreign(partition, std::move(record));
  return true;
}

void SimLog::flip(Position position, std::size_t byte) {
  for (Record& r : part(position.partition).records) {
    if (r.offset != position.offset || byte >= r.bytes.size()) continue;
    r.bytes[byte] = static_cast<char>(r.bytes[byte] ^ 1);
    return;
  }
  std::abort();
}

void SimLog::crash(std::size_t kept) {
  for (Append& a : queue_) {
    if (kept == 0) break;
    --kept;
    store(a.partition, std::move(a.record));
  }
  queue_.clear();
  followers_.clear();
  for (Partition& p : parts_) p.delayed.clear();
  script_ = nullptr;
  health_ = {};
}

void SimLog::set_full(bool full) {
  if (full)
    health_ = fail(Code::kStorageFull, "simulated: the disk is full");
  else
    health_ = {};
}

void SimLog::break_disk() {
  health_ = fail(Code::kIo, "simulated: a sync failed");
  std::deque<Append> lost;
  lost.swap(queue_);
  for (Append& a : lost) a.on_report({AppendReport::Kind::kUnknown, {}, health_.error()});
}

}  // namespace soma::events
