// Copy first, then prove: the proof reads what the target stored, not what was sent to it.
#include "events/copy.h"

#include <condition_variable>
#include <mutex>
#include <optional>

#include "events/frames.h"

namespace soma::events {

namespace {

constexpr std::size_t kPageBytes = 4 << 20;
constexpr std::size_t kMostInFlight = 256;

std::string name(PartitionId p) { return "partition " + std::to_string(p.value); }

// Appends under way: each must be stored at the offset that it had.
class Window {
 public:
  explicit Window(Log& to) : to_(to) {}
  ~Window() { (void)wait(0); }  // reports refer to this

  Status append(PartitionId partition, const Record& record) {
    if (auto ok = wait(kMostInFlight - 1); !ok) return ok;
    {
      std::lock_guard lock(mutex_);
      ++open_;
    }
    to_.append(partition, record.bytes,
               [this, partition, expected = record.offset](const AppendReport& report) {
                 std::lock_guard lock(mutex_);
                 if (!error_) error_ = judge(partition, expected, report);
                 --open_;
                 changed_.notify_all();
               });
    return {};
  }

  // Until at most `most` are open; the first failure.
  Status wait(std::size_t most) {
    std::unique_lock lock(mutex_);
    while (open_ > most) {
      lock.unlock();
      const bool pumped = to_.pump();
      lock.lock();
      if (!pumped) changed_.wait(lock, [&] { return open_ <= most; });
    }
    if (error_) return tl::unexpected(*error_);
    return {};
  }

 private:
  static std::optional<Error> judge(PartitionId partition, Offset expected,
                                    const AppendReport& report) {
    if (report.kind != AppendReport::Kind::kDurable) {
      Error error = report.error;
      error.message += "; run the same command again, it goes on where this one stopped";
      return error;
    }
    if (report.offset && *report.offset != expected)
      return Error{Code::kConflict,
                   name(partition) + " got offset " + std::to_string(report.offset->value) +
                       " for a record of offset " + std::to_string(expected.value) +
                       ": somebody else writes to the target, or it has gaps",
                   {}};
    return std::nullopt;
  }

  Log& to_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t open_ = 0;
  std::optional<Error> error_;
};

// Every record of a partition up to `end`, in order.
Status each(const Log& log, PartitionId partition, Offset end,
            const std::function<Status(const Record&)>& visit) {
  for (Offset next{}; next < end;) {
    auto page = log.read(partition, next, kPageBytes);
    if (!page) return tl::unexpected(page.error());
    if (page->empty())
      return fail(Code::kCorrupt, name(partition) + " ends at offset " +
                                      std::to_string(next.value) + ", not at " +
                                      std::to_string(end.value));
    for (const auto& record : *page) {
      if (record.offset >= end) return {};
      if (auto ok = visit(record); !ok) return ok;
      next = Offset{record.offset.value + 1};
    }
  }
  return {};
}

// The next record of a log that is read along with another.
class Alongside {
 public:
  Alongside(const Log& log, PartitionId partition) : log_(log), partition_(partition) {}
  Result<const Record*> next() {
    if (at_ == page_.size()) {
      auto page = log_.read(partition_, from_, kPageBytes);
      if (!page) return tl::unexpected(page.error());
      page_ = std::move(*page);
      at_ = 0;
      if (page_.empty()) return nullptr;
      from_ = Offset{page_.back().offset.value + 1};
    }
    return &page_[at_++];
  }

 private:
  const Log& log_;
  const PartitionId partition_;
  Offset from_{};
  std::vector<Record> page_;
  std::size_t at_ = 0;
};

Result<CopiedPartition> copy_partition(const Log& from, Log& to, PartitionId partition, Offset end,
                                       const std::function<void()>& on_record) {
  CopiedPartition out;
  out.partition = partition;
  const Offset held = to.end(partition);
  if (held > end)
    return fail(Code::kConflict, name(partition) + " of the target has " +
                                     std::to_string(held.value) + " records, the source " +
                                     std::to_string(end.value) + ": it is another journal");
  Alongside target(to, partition);
  Window window(to);
  Offset expected{};
  auto copied = each(from, partition, end, [&](const Record& record) -> Status {
    if (record.offset != expected)
      return fail(Code::kConflict, name(partition) + " of the source has no record at offset " +
                                       std::to_string(expected.value) +
                                       ", and the target cannot leave one out");
    expected = Offset{record.offset.value + 1};
    on_record();
    if (record.offset >= held) {
      ++out.copied;
      return window.append(partition, record);
    }
    auto there = target.next();
    if (!there) return tl::unexpected(there.error());
    if (*there == nullptr || (*there)->offset != record.offset || (*there)->bytes != record.bytes)
      return fail(Code::kConflict, "the target holds another record at " +
                                       to_string(Position{partition, record.offset}) +
                                       ": it is not empty, and not the beginning of this journal");
    return {};
  });
  if (!copied) return tl::unexpected(copied.error());
  if (auto stored = window.wait(0); !stored) return tl::unexpected(stored.error());
  out.records = expected.value;
  return out;
}

struct Head {
  std::uint64_t frames = 0;
  Fence fence;
  Offset next{};
};

Result<Head> head_of(const Log& log, PartitionId partition) {
  FrameReader reader(log, partition);
  Head out;
  for (;;) {
    auto frames = reader.next();
    if (!frames) return tl::unexpected(frames.error());
    if (frames->empty()) break;
    out.frames += frames->size();
  }
  out.fence = reader.fence();
  out.next = reader.next_offset();
  return out;
}

Status prove(const Log& from, const Log& to, CopiedPartition& copied) {
  auto source = head_of(from, copied.partition), target = head_of(to, copied.partition);
  if (!source) return tl::unexpected(source.error());
  if (!target) return tl::unexpected(target.error());
  const auto grew = [&](const char* which, Offset next) {
    return fail(Code::kConflict, name(copied.partition) + " of the " + which + " has " +
                                     std::to_string(next.value) + " records where " +
                                     std::to_string(copied.records) +
                                     " were copied: stop the nodes that write to it");
  };
  if (source->next.value != copied.records) return grew("source", source->next);
  if (target->next.value != copied.records) return grew("target", target->next);
  if (source->fence.head() != target->fence.head() ||
      source->fence.epoch() != target->fence.epoch() || source->frames != target->frames)
    return fail(Code::kCorrupt,
                "the chain heads of " + name(copied.partition) + " differ after the copy");
  copied.frames = target->frames;
  copied.epoch = target->fence.epoch();
  copied.head = target->fence.head();
  return {};
}

}  // namespace

Result<std::vector<CopiedPartition>> copy_journal(const Log& from, Log& to,
                                                  const OnCopied& on_copied) {
  const auto partitions = from.partition_count();
  if (to.partition_count() != partitions)
    return fail(Code::kConflict, "the source has " + std::to_string(partitions) +
                                     " partitions, the target " +
                                     std::to_string(to.partition_count()));
  std::uint64_t total = 0, done = 0;
  std::vector<Offset> ends;
  for (std::uint32_t p = 0; p < partitions; ++p) {
    ends.push_back(from.end(PartitionId{p}));
    total += ends.back().value;
  }
  std::vector<CopiedPartition> out;
  for (std::uint32_t p = 0; p < partitions; ++p) {
    auto copied = copy_partition(from, to, PartitionId{p}, ends[p], [&] {
      ++done;
      if (on_copied) on_copied(done, total);
    });
    if (!copied) return tl::unexpected(copied.error());
    out.push_back(std::move(*copied));
  }
  for (auto& copied : out)
    if (auto ok = prove(from, to, copied); !ok) return tl::unexpected(ok.error());
  return out;
}

}  // namespace soma::events
