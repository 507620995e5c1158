// The owner's pen: appends frames, and says in order which of them became valid.
#include <condition_variable>
#include <mutex>

#include "events/frames.h"
#include "schemas/base/planted.h"
#include "schemas/base/sha256.h"

namespace soma::events {

// Lives until the last report, so that a writer may be dropped with frames in flight.
struct FrameWriter::Shared : std::enable_shared_from_this<FrameWriter::Shared> {
  struct InFlight {
    std::shared_ptr<const v1::Frame> frame;
    std::string hash;
    OnOutcome on_outcome;
    std::optional<AppendReport> report;
    bool appended = true;  // false: the writer was dead already
  };

  Shared(Log& l, PartitionId p, Fence f, Offset o)
      : log(l),
        partition(p),
        epoch(f.epoch()),
        proven(std::move(f)),
        proven_offset(o),
        number(proven.last_number()),
        head(proven.head()) {}

  Log& log;
  const PartitionId partition;
  const Epoch epoch;
  // Only the one thread that delivers outcomes touches these two.
  Fence proven;          // as of the last own record known valid
  Offset proven_offset;  // of that record

  mutable std::mutex mutex;
  std::deque<InFlight> in_flight;  // addresses stay while others are pushed or the front is popped
  std::size_t reported = 0;        // how many from the front have their report
  bool delivering = false;
  FrameNumber number;  // of the last frame handed to the log
  std::string head;    // its hash
  bool dead = false;
  Error death;

  void on_report(const AppendReport& report);
  void count_unappended();
  void deliver();
  bool follows(const InFlight& item);
  Result<Position> find(const InFlight& item);
  void finish(Outcome outcome);
};

// Proof without reading: the record stands right behind the last proven one, so nobody wrote
// between. The offset of a failure proves nothing; some clients invent one.
bool FrameWriter::Shared::follows(const InFlight& item) {
  const AppendReport& report = *item.report;
  return report.kind == AppendReport::Kind::kDurable && report.offset &&
         *report.offset == proven_offset.next();
}

// Where the record stands, if the fence lets it stand.
Result<Position> FrameWriter::Shared::find(const InFlight& item) {
  FrameReader gap(log, partition, proven, proven_offset.next());
  gap.as_stored();
  for (;;) {
    auto frames = gap.next();
    if (!frames) return tl::unexpected(frames.error());
    if (frames->empty())
      return fail(Code::kUnknownOutcome, "the record was not found after its report");
    for (const auto& f : *frames) {
      if (planted(Bug::kFenceIgnored) && item.report->offset)
        return Position{partition, *item.report->offset};
      if (f.frame->epoch() != item.frame->epoch())
        return fail(Code::kFenced,
                    "epoch " + std::to_string(f.frame->epoch()) + " has claimed the partition");
      if (f.hash != item.hash) continue;
      // Later frames of the batch are judged again when their own reports come.
      proven = Fence(Epoch{f.frame->epoch()}, FrameNumber{f.frame->number()}, f.hash);
      proven_offset = f.position.offset;
      return f.position;
    }
  }
}

void FrameWriter::Shared::on_report(const AppendReport& report) {
  {
    std::lock_guard lock(mutex);
    if (reported == in_flight.size())
      return;  // a report of nothing: the engine's fault, not an outcome
    in_flight[reported++].report = report;
    count_unappended();
    if (delivering) return;
    delivering = true;
  }
  deliver();
}

// Frames given to a dead writer never get a report: they need none once all before them have
// theirs.
void FrameWriter::Shared::count_unappended() {
  while (reported < in_flight.size() && !in_flight[reported].appended)
    in_flight[reported++].report = AppendReport{};
}

// Hands out the outcomes of the front for as long as there are reports. A frame that needs reading
// is judged apart from the report thread; reports that come meanwhile wait behind it.
void FrameWriter::Shared::deliver() {
  for (;;) {
    const InFlight* item = nullptr;
    Outcome outcome;
    {
      std::lock_guard lock(mutex);
      if (reported == 0) {
        delivering = false;
        return;
      }
      item = &in_flight.front();
      if (dead)
        outcome.error = {Code::kUnknownOutcome, "an earlier frame failed: " + death.message, {}};
    }
    if (!outcome.error.message.empty()) {
      finish(std::move(outcome));
    } else if (item->report->kind != AppendReport::Kind::kDurable) {
      outcome.error = item->report->error;
      if (item->report->kind == AppendReport::Kind::kUnknown)
        outcome.error.code = Code::kUnknownOutcome;
      finish(std::move(outcome));
    } else if (!follows(*item)) {
      log.run_apart([self = shared_from_this(), item] {
        Outcome judged;
        if (auto position = self->find(*item))
          judged = {true, {*position, item->frame, item->hash}, {}};
        else
          judged.error = position.error();
        self->finish(std::move(judged));
        self->deliver();
      });
      return;
    } else if (proven.admit(*item->frame, item->hash) == Verdict::kValid) {
      proven_offset = *item->report->offset;
      finish({true, {{partition, proven_offset}, item->frame, item->hash}, {}});
    } else {
      outcome.error = {Code::kFenced, "own frame does not follow the last one", {}};
      finish(std::move(outcome));
    }
  }
}

// The frame counts as in flight until its handler has returned, so that no later outcome overtakes
// it.
void FrameWriter::Shared::finish(Outcome outcome) {
  OnOutcome on_outcome;
  {
    std::lock_guard lock(mutex);
    on_outcome = std::move(in_flight.front().on_outcome);
    if (!outcome.valid && !dead) {
      dead = true;
      death = outcome.error;
    }
  }
  on_outcome(outcome);
  std::lock_guard lock(mutex);
  in_flight.pop_front();
  --reported;
}

FrameWriter::FrameWriter(std::shared_ptr<Shared> shared) : shared_(std::move(shared)) {}
FrameWriter::~FrameWriter() = default;

namespace {

v1::Frame claim_frame(const FrameReader& reader, v1::Claim claim, std::int64_t now_ms) {
  v1::Frame frame;
  frame.set_format(1);
  frame.set_partition(reader.partition().value);
  frame.set_epoch(reader.fence().epoch().value + 1);
  frame.set_previous_hash(reader.fence().head());
  frame.set_time_ms(now_ms);
  *frame.mutable_claim() = std::move(claim);
  return frame;
}

AppendReport append_and_wait(Log& log, PartitionId partition, std::string bytes) {
  struct Waiter {
    std::mutex mutex;
    std::condition_variable reported;
    std::optional<AppendReport> report;
  };
  auto waiter = std::make_shared<Waiter>();
  log.append(partition, std::move(bytes), [waiter](const AppendReport& report) {
    std::lock_guard lock(waiter->mutex);
    waiter->report = report;
    waiter->reported.notify_all();
  });
  for (;;) {
    {
      std::lock_guard lock(waiter->mutex);
      if (waiter->report) return *waiter->report;
    }
    if (log.pump()) continue;
    std::unique_lock lock(waiter->mutex);
    waiter->reported.wait(lock, [&] { return waiter->report.has_value(); });
  }
}

}  // namespace

Result<std::unique_ptr<FrameWriter>> FrameWriter::claim(
    Log& log, FrameReader& reader, v1::Claim claim, std::int64_t now_ms,
    const std::function<void(const ValidFrame&)>& between) {
  const v1::Frame frame = claim_frame(reader, std::move(claim), now_ms);
  const std::string bytes = encode_frame(frame);
  const std::string hash = sha256(bytes);
  const AppendReport report = append_and_wait(log, reader.partition(), bytes);
  if (report.kind == AppendReport::Kind::kRefused) return tl::unexpected(report.error);
  for (;;) {  // whatever the report said: only the log tells who owns
    auto frames = reader.next();
    if (!frames) return tl::unexpected(frames.error());
    if (frames->empty()) return fail(Code::kUnknownOutcome, "the claim was not found in the log");
    std::optional<Offset> own;
    for (const auto& f : *frames) {
      if (f.frame->epoch() < frame.epoch()) {
        if (between) between(f);
      } else if (!own && f.hash == hash) {
        own = f.position.offset;
      } else {
        // Ahead of the own claim, or already behind it: the reader's fence has moved on to the
        // other's.
        return fail(Code::kFenced,
                    "node " + f.frame->claim().node_id() + " has claimed the partition");
      }
    }
    if (!own) continue;
    auto shared = std::make_shared<Shared>(log, reader.partition(), reader.fence(), *own);
    return std::unique_ptr<FrameWriter>(new FrameWriter(std::move(shared)));
  }
}

void FrameWriter::append(v1::Frame frame, OnOutcome on_outcome) {
  Shared& s = *shared_;
  frame.set_format(1);
  frame.set_partition(s.partition.value);
  frame.set_epoch(s.epoch.value);
  std::string bytes;
  std::optional<Outcome> refused;
  bool start_delivery = false;
  {
    std::lock_guard lock(s.mutex);
    frame.set_number(s.number.value + 1);
    frame.set_previous_hash(s.head);
    auto encoded = encode_frame(frame, s.log.sealer());
    if (encoded) bytes = std::move(*encoded);
    if (!encoded) {
      refused = Outcome{};
      refused->error = encoded.error();
    } else if (bytes.size() > kMaxRecordBytes) {
      refused = Outcome{};
      refused->error = {Code::kTooLarge,
                        "frame of " + std::to_string(bytes.size()) + " bytes; at most " +
                            std::to_string(kMaxRecordBytes),
                        {}};
    } else {
      s.number = s.number.next();
      s.head = sha256(bytes);
      s.in_flight.push_back(
          {std::make_shared<const v1::Frame>(std::move(frame)), s.head, std::move(on_outcome), {}});
    }
    if (s.dead && !refused) {  // not appended; it only waits its turn to be told so
      bytes.clear();
      s.in_flight.back().appended = false;
      s.count_unappended();
      if (!s.delivering && s.reported > 0) start_delivery = s.delivering = true;
    }
  }
  if (refused) return on_outcome(*refused);
  if (start_delivery) return s.deliver();
  if (!bytes.empty())
    s.log.append(s.partition, std::move(bytes),
                 [shared = shared_](const AppendReport& r) { shared->on_report(r); });
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
