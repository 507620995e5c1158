// The owner's pen: claims a partition, appends frames, and says in order which of them became valid.
#include <condition_variable>
#include <mutex>

#include "events/frames.h"
#include "schemas/base/sha256.h"

namespace soma::events {

struct FrameWriter::Shared {
  struct InFlight {
    std::shared_ptr<const v1::Frame> frame;
    std::string hash;
    OnOutcome on_outcome;
  };

  Shared(Log& l, PartitionId p, Fence f, Offset o)
      : log(l), partition(p), epoch(f.epoch()), proven(std::move(f)), proven_offset(o),
        number(proven.last_number()), head(proven.head()) {}

  Log& log;
  const PartitionId partition;
  const Epoch epoch;
  mutable std::mutex mutex;
  std::deque<InFlight> in_flight;
  Fence proven;              // as of the last own record known valid
  Offset proven_offset;      // of that record
  FrameNumber number;        // of the last frame handed to the log
  std::string head;          // its hash
  bool dead = false;
  Error death;

  void on_report(const AppendReport& report);
  Result<Position> prove(const InFlight& item, const AppendReport& report);
};

// Where the record stands, if it is valid. Only an offset that follows the last proven one is proof by
// itself: then nobody wrote between. Everything else is read and judged by the fence.
Result<Position> FrameWriter::Shared::prove(const InFlight& item, const AppendReport& report) {
  if (report.offset && *report.offset == proven_offset.next()) {
    if (proven.admit(*item.frame, item.hash) != Verdict::kValid)
      return fail(Code::kFenced, "own frame does not follow the last one");
    proven_offset = *report.offset;
    return Position{partition, proven_offset};
  }
  FrameReader gap(log, partition, proven, proven_offset.next());
  for (;;) {
    auto frames = gap.next();
    if (!frames) return tl::unexpected(frames.error());
    if (frames->empty()) return fail(Code::kUnknownOutcome, "the record was not found after its report");
    for (const auto& f : *frames) {
      if (f.frame->epoch() != item.frame->epoch())
        return fail(Code::kFenced, "epoch " + std::to_string(f.frame->epoch()) + " has claimed the partition");
      if (f.hash != item.hash) continue;
      // Later frames of the batch are judged again when their own reports come.
      proven = Fence(Epoch{f.frame->epoch()}, FrameNumber{f.frame->number()}, f.hash);
      proven_offset = f.position.offset;
      return f.position;
    }
  }
}

void FrameWriter::Shared::on_report(const AppendReport& report) {
  InFlight item;
  Outcome outcome;
  {
    std::lock_guard lock(mutex);
    if (in_flight.empty()) return;
    item = std::move(in_flight.front());
    in_flight.pop_front();
    if (dead) {
      outcome.error = {Code::kUnknownOutcome, "an earlier frame failed: " + death.message, {}};
    } else if (report.kind != AppendReport::Kind::kDurable) {
      outcome.error = report.error;
      if (report.kind == AppendReport::Kind::kUnknown) outcome.error.code = Code::kUnknownOutcome;
    } else if (auto position = prove(item, report); position) {
      outcome.valid = true;
      outcome.frame = {*position, item.frame, item.hash};
    } else {
      outcome.error = position.error();
    }
    if (!outcome.valid && !dead) {
      dead = true;
      death = outcome.error;
    }
  }
  item.on_outcome(outcome);
}

FrameWriter::FrameWriter(std::shared_ptr<Shared> shared) : shared_(std::move(shared)) {}
FrameWriter::~FrameWriter() = default;

Result<std::unique_ptr<FrameWriter>> FrameWriter::claim(Log& log, FrameReader& reader, v1::Claim claim,
                                                        std::int64_t now_ms,
                                                        const std::function<void(const ValidFrame&)>& between) {
  const PartitionId partition = reader.partition();
  v1::Frame frame;
  frame.set_format(1);
  frame.set_partition(partition.value);
  frame.set_epoch(reader.fence().epoch().value + 1);
  frame.set_previous_hash(reader.fence().head());
  frame.set_time_ms(now_ms);
  *frame.mutable_claim() = std::move(claim);
  const std::string bytes = encode_frame(frame);
  const std::string hash = sha256(bytes);

  struct Waiter {
    std::mutex mutex;
    std::condition_variable reported;
    std::optional<AppendReport> report;
  };
  auto waiter = std::make_shared<Waiter>();
  log.append(partition, bytes, [waiter](const AppendReport& report) {
    std::lock_guard lock(waiter->mutex);
    waiter->report = report;
    waiter->reported.notify_all();
  });
  {
    std::unique_lock lock(waiter->mutex);
    waiter->reported.wait(lock, [&] { return waiter->report.has_value(); });
    if (waiter->report->kind == AppendReport::Kind::kRefused) return tl::unexpected(waiter->report->error);
  }
  for (;;) {   // whatever the report said: only the log tells who owns
    auto frames = reader.next();
    if (!frames) return tl::unexpected(frames.error());
    if (frames->empty()) return fail(Code::kUnknownOutcome, "the claim was not found in the log");
    for (const auto& f : *frames) {
      if (f.frame->epoch() < frame.epoch()) {
        between(f);
        continue;
      }
      if (f.hash != hash)
        return fail(Code::kFenced, "node " + f.frame->claim().node_id() + " has claimed the partition");
      auto shared = std::make_shared<Shared>(log, partition, reader.fence(), f.position.offset);
      return std::unique_ptr<FrameWriter>(new FrameWriter(std::move(shared)));
    }
  }
}

void FrameWriter::append(v1::Frame frame, OnOutcome on_outcome) {
  Shared& s = *shared_;
  frame.set_format(1);
  frame.set_partition(s.partition.value);
  frame.set_epoch(s.epoch.value);
  std::string bytes;
  Outcome refused;
  {
    std::lock_guard lock(s.mutex);
    frame.set_number(s.number.value + 1);
    frame.set_previous_hash(s.head);
    bytes = encode_frame(frame);
    if (s.dead) refused.error = {Code::kUnknownOutcome, "the writer is dead: " + s.death.message, {}};
    if (bytes.size() > kMaxRecordBytes)
      refused.error = {Code::kTooLarge, "frame of " + std::to_string(bytes.size()) + " bytes; at most " +
                                            std::to_string(kMaxRecordBytes), {}};
    if (refused.error.message.empty()) {
      s.number = s.number.next();
      s.head = sha256(bytes);
      s.in_flight.push_back({std::make_shared<const v1::Frame>(std::move(frame)), s.head, on_outcome});
    }
  }
  if (!refused.error.message.empty()) return on_outcome(refused);
  s.log.append(s.partition, std::move(bytes), [shared = shared_](const AppendReport& r) { shared->on_report(r); });
}

Epoch FrameWriter::epoch() const { return shared_->epoch; }

std::size_t FrameWriter::in_flight() const {
  std::lock_guard lock(shared_->mutex);
  return shared_->in_flight.size();
}

bool FrameWriter::dead() const {
  std::lock_guard lock(shared_->mutex);
  return shared_->dead;
}

}  // namespace soma::events
