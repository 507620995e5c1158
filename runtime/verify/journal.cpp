// A sparse index of fences.
#include "runtime/verify/journal.h"

#include <algorithm>

namespace soma::runtime {

namespace {
constexpr std::size_t kBatchBytes = 4 << 20;
}

Journal::Journal(const events::Log& log) : log_(log) {
  for (std::uint32_t p = 0; p < log.partition_count(); ++p) {
    known_.push_back(std::make_unique<Known>());
    known_.back()->fences[0] = {};
    known_.back()->summary.partition = PartitionId{p};
  }
}

Status Journal::advance(Known& k, PartitionId partition) {
  events::FrameReader reader(log_, partition, k.fence, Offset{k.next});
  while (reader.next_offset() < log_.end(partition)) {
    const std::uint64_t voided = reader.voided();
    auto frames = reader.next(kBatchBytes);
    if (!frames) return tl::unexpected(frames.error());
    if (reader.next_offset().value == k.next) break;
    k.next = reader.next_offset().value;
    k.fence = reader.fence();
    k.fences[k.next] = k.fence;
    auto& s = k.summary;
    s.records = k.next;
    s.frames += frames->size();
    s.voided += reader.voided() - voided;
    s.epoch = k.fence.epoch();
    s.number = k.fence.last_number();
    s.head = k.fence.head();
    if (frames->empty()) continue;
    if (s.oldest_ms == 0) s.oldest_ms = frames->front().frame->time_ms();
    s.newest_ms = frames->back().frame->time_ms();
    s.last = frames->back().position.offset;
    for (const auto& f : *frames) {
      if (!f.frame->has_claim()) continue;
      s.owner = f.frame->claim().node_id();
      s.owner_address = f.frame->claim().address();
      s.owned_since_ms = f.frame->time_ms();
    }
  }
  // Small steps would make an entry a frame: keep one a batch.
  if (k.fences.size() > 2) {
    auto last = std::prev(k.fences.end()), before = std::prev(last);
    if (last->first - before->first < 64 && before->first != 0) k.fences.erase(before);
  }
  return {};
}

std::unique_ptr<events::FrameReader> Journal::reader(Known& k, PartitionId partition, Offset at) {
  auto it = std::prev(k.fences.upper_bound(at.value));
  return std::make_unique<events::FrameReader>(log_, partition, it->second, Offset{it->first});
}

Result<events::ValidFrame> Journal::at(Position position) {
  if (position.partition.value >= known_.size())
    return fail(Code::kNotFound,
                "there is no partition " + std::to_string(position.partition.value));
  auto& k = *known_[position.partition.value];
  std::lock_guard lock(k.mutex);
  if (auto ok = advance(k, position.partition); !ok) return tl::unexpected(ok.error());
  auto r = reader(k, position.partition, position.offset);
  while (r->next_offset() <= position.offset) {
    auto frames = r->next(kBatchBytes);
    if (!frames) return tl::unexpected(frames.error());
    if (frames->empty()) break;
    for (auto& f : *frames)
      if (f.position == position) return std::move(f);
  }
  if (position.offset < log_.end(position.partition))
    return fail(Code::kNotFound,
                "the record at " + to_string(position) + " is void: it does not count");
  return fail(Code::kNotFound, "no record stands at " + to_string(position));
}

Result<std::vector<events::ValidFrame>> Journal::page(PartitionId partition, Offset from,
                                                      std::size_t limit, const Wanted& wanted,
                                                      Offset& next) {
  if (partition.value >= known_.size())
    return fail(Code::kNotFound, "there is no partition " + std::to_string(partition.value));
  auto& k = *known_[partition.value];
  std::lock_guard lock(k.mutex);
  if (auto ok = advance(k, partition); !ok) return tl::unexpected(ok.error());
  auto r = reader(k, partition, from);
  std::vector<events::ValidFrame> out;
  next = from;
  while (out.size() < limit && next.value - std::min(from, next).value < kMostLooked) {
    auto frames = r->next(kBatchBytes);
    if (!frames) return tl::unexpected(frames.error());
    if (frames->empty()) break;
    for (auto& f : *frames) {
      if (f.position.offset < from) continue;
      if (out.size() >= limit) return out;
      next = f.position.offset.next();
      if (wanted(f)) out.push_back(std::move(f));
    }
    if (out.size() < limit) next = std::max(next, r->next_offset());
  }
  return out;
}

Result<std::vector<events::ValidFrame>> Journal::newest(std::size_t limit, const Wanted& wanted) {
  std::vector<events::ValidFrame> all;
  for (std::uint32_t p = 0; p < known_.size(); ++p) {
    auto& k = *known_[p];
    std::lock_guard lock(k.mutex);
    if (auto ok = advance(k, PartitionId{p}); !ok) return tl::unexpected(ok.error());
    std::vector<events::ValidFrame> found;
    // Batch by batch from the end.
    for (auto end = k.fences.end(); end != k.fences.begin() && found.size() < limit;) {
      const std::uint64_t stop = end == k.fences.end() ? k.next : end->first;
      --end;
      events::FrameReader r(log_, PartitionId{p}, end->second, Offset{end->first});
      std::vector<events::ValidFrame> batch;
      while (r.next_offset().value < stop) {
        auto frames = r.next(kBatchBytes);
        if (!frames) return tl::unexpected(frames.error());
        if (frames->empty()) break;
        for (auto& f : *frames)
          if (f.position.offset.value < stop && wanted(f)) batch.push_back(std::move(f));
      }
      batch.insert(batch.end(), found.begin(), found.end());
      found = std::move(batch);
    }
    if (found.size() > limit) found.erase(found.begin(), found.end() - static_cast<long>(limit));
    for (auto& f : found) all.push_back(std::move(f));
  }
  std::stable_sort(all.begin(), all.end(), [](const auto& a, const auto& b) {
    return a.frame->time_ms() < b.frame->time_ms();
  });
  if (all.size() > limit) all.erase(all.begin(), all.end() - static_cast<long>(limit));
  return all;
}

Result<std::vector<Journal::Summary>> Journal::summary() {
  std::vector<Summary> out;
  for (std::uint32_t p = 0; p < known_.size(); ++p) {
    auto& k = *known_[p];
    std::lock_guard lock(k.mutex);
    if (auto ok = advance(k, PartitionId{p}); !ok) return tl::unexpected(ok.error());
    out.push_back(k.summary);
  }
  return out;
}

}  // namespace soma::runtime
