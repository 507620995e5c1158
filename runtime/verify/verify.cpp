// Records through the fence, frames through the checks, snapshots against the fold.
#include "runtime/verify/verify.h"

#include <algorithm>
#include <deque>
#include <map>

#include "events/frames.h"
#include "runtime/checks/journal_checks.h"
#include "schemas/base/sha256.h"

namespace soma::runtime {

namespace {

// An owner claims after reading to the end, so at most its predecessor's frames in flight stand
// between the record that a claim names and the claim.
constexpr std::size_t kRecentHashes = 4096;

struct Wanted {  // what the snapshot store says of an actor
  Sequence sequence;
  std::string digest;
  bool compared = false;
};

class Verification {
 public:
  Verification(const events::Log& log, const actors::Catalog& catalog, const VerifyOptions& o)
      : log_(log),
        o_(o),
        catalog_(catalog),
        checks_(catalog, {log.partition_count(), false, o.decide_again}) {
    for (std::uint32_t p = 0; p < log.partition_count(); ++p)
      total_ += log.end(PartitionId{p}).value;
    report_.partitions = log.partition_count();
  }

  VerifyReport run() {
    for (std::uint32_t p = 0; p < log_.partition_count() && !over(); ++p) partition(PartitionId{p});
    report_.events = checks_.events();
    report_.commands = checks_.commands();
    report_.erased = checks_.erased();
    report_.parked = checks_.parked();
    report_.decided = checks_.decided();
    report_.actors = checks_.actors().size();
    return std::move(report_);
  }

 private:
  bool over() const { return report_.stopped || report_.findings.size() >= o_.most_findings; }

  void complain(const char* invariant, Position at, std::string what) {
    take({{invariant, at, std::move(what)}});
  }
  void take(checks::Findings findings) {
    for (auto& f : findings)
      if (report_.findings.size() < o_.most_findings) report_.findings.push_back(std::move(f));
  }

  void partition(PartitionId p) {
    fence_ = {};
    recent_.assign(1, fence_.head());
    last_valid_ = {};
    wanted_.clear();
    checkpoint_ = o_.snapshots ? o_.snapshots->checkpoint(p) : std::nullopt;
    if (o_.snapshots) read_snapshots(p);
    Offset next;
    while (!over()) {
      auto records = log_.read(p, next, events::kReadBytes);
      if (!records) {
        complain("I13", {p, next}, records.error().message);
        break;
      }
      if (records->empty()) break;
      for (const auto& record : *records) {
        check_checkpoint({p, record.offset});
        take_record({p, record.offset}, record.bytes);
        next = record.offset.next();
        if (over()) break;
      }
      done_ += records->size();
      if (o_.on_progress && !o_.on_progress(done_, total_)) report_.stopped = true;
    }
    if (!over()) {
      check_checkpoint({p, next});
      check_left_snapshots({p, next});
    }
    report_.heads.push_back({p, fence_.epoch(), next, hex(fence_.head())});
  }

  void take_record(Position at, const std::string& bytes) {
    auto frame = events::decode_frame(bytes, log_.sealer());
    if (!frame) return complain("I13", at, frame.error().message);
    if ((*frame)->partition() != at.partition.value)
      return complain("I13", at, "a frame of partition " + std::to_string((*frame)->partition()));
    const std::string hash = sha256(bytes);
    const auto verdict = fence_.epoch().value == 0 && !(*frame)->has_claim()
                             ? events::Verdict::kOutOfOrder
                             : fence_.admit(**frame, hash);
    if (verdict != events::Verdict::kValid) {
      ++report_.voided;
      if (verdict == events::Verdict::kOutOfOrder && o_.single_writer) broken_chain(at, **frame);
      return;
    }
    if ((*frame)->has_claim()) check_claim(at, **frame);
    recent_.push_back(fence_.head());
    recent_.push_back(hash);
    while (recent_.size() > kRecentHashes) recent_.pop_front();
    last_valid_ = at;
    ++report_.frames;
    const events::ValidFrame valid{at, *frame, hash};
    check_touched(valid);
    checks::Findings findings;
    checks_.take(valid, findings);
    take(std::move(findings));
    if (!wanted_.empty()) compare_snapshots(valid);
  }

  // Either this record was changed, or the one before it, whose hash it holds.
  void broken_chain(Position at, const v1::Frame& frame) {
    const bool next_number =
        frame.epoch() == fence_.epoch().value && frame.number() == fence_.last_number().value + 1;
    if (next_number && last_valid_)
      complain("I13", *last_valid_,
               "its hash is not the one that the next record (" + to_string(at) + ") holds");
    else
      complain("I1", at,
               "epoch " + std::to_string(frame.epoch()) + " number " +
                   std::to_string(frame.number()) + " does not follow epoch " +
                   std::to_string(fence_.epoch().value) + " number " +
                   std::to_string(fence_.last_number().value));
  }

  void check_claim(Position at, const v1::Frame& frame) {
    if (std::find(recent_.begin(), recent_.end(), frame.previous_hash()) == recent_.end())
      complain("I13", at, "the claim names a record before it that is not there");
  }

  // Recovery reads these instead of the entries.
  void check_touched(const events::ValidFrame& valid) {
    const auto& f = *valid.frame;
    bool same = f.touched_size() == f.entries_size();
    for (int i = 0; same && i < f.entries_size(); ++i) {
      const auto& t = f.touched(i);
      const auto& e = f.entries(i);
      same = actors::to_key(t.actor()) == actors::to_key(e.actor()) &&
             static_cast<int>(t.events()) == e.events_size() &&
             (t.events() == 0 || t.first_sequence() == e.events(0).sequence());
    }
    if (!same)
      complain("I8", valid.position, "the list of touched actors is not what the entries say");
  }

  void read_snapshots(PartitionId p) {
    const auto read = o_.snapshots->each_snapshot(
        p, [&](const ActorKey& key, std::optional<StateStore::Snapshot> snapshot) {
          const auto* type = catalog_.find(key.type);
          if (!snapshot)
            complain("I9", {p, Offset{}}, "the snapshot of " + to_string(key) + " does not check");
          else if (!type || type->schema_hash() != snapshot->schema_hash)
            ++report_.snapshots_other;
          else
            wanted_[key] = {snapshot->sequence, sha256(snapshot->state)};
        });
    if (!read) complain("I9", {p, Offset{}}, read.error().message);
  }

  void compare_snapshots(const events::ValidFrame& valid) {
    for (const auto& touch : valid.frame->touched()) {
      const ActorKey key = actors::to_key(touch.actor());
      const auto it = wanted_.find(key);
      if (it == wanted_.end() || it->second.compared) continue;
      const auto* folded = checks_.find(key);
      if (!folded || folded->sequence < it->second.sequence) continue;
      it->second.compared = true;
      ++report_.snapshots;
      const std::string of = "the snapshot of " + to_string(key) + " at sequence " +
                             std::to_string(it->second.sequence.value);
      if (folded->sequence > it->second.sequence)
        complain("I9", valid.position, of + " stands where no frame ends");
      else if (sha256(actors::deterministic_bytes(*folded->state)) != it->second.digest)
        complain("I8", valid.position, of + " is not what the events make of it");
    }
  }

  void check_left_snapshots(Position end) {
    for (const auto& [key, wanted] : wanted_)
      if (!wanted.compared && wanted.sequence.value > 0)
        return complain("I9", end,
                        "the snapshot of " + to_string(key) + " is at sequence " +
                            std::to_string(wanted.sequence.value) + ", the journal ends before it");
  }

  void check_checkpoint(Position at) {
    if (!checkpoint_ || at.offset < checkpoint_->next) return;
    const bool same = at.offset == checkpoint_->next && fence_.epoch() == checkpoint_->epoch &&
                      fence_.last_number() == checkpoint_->number &&
                      fence_.head() == checkpoint_->head;
    if (!same)
      complain("I9", at,
               "the checkpoint does not fit the journal: another record stands before it");
    checkpoint_.reset();
  }

  const events::Log& log_;
  const VerifyOptions& o_;
  const actors::Catalog& catalog_;
  checks::JournalChecks checks_;
  VerifyReport report_;
  std::uint64_t done_ = 0, total_ = 0;

  events::Fence fence_;  // of the partition that is being read
  std::deque<std::string> recent_;
  std::optional<Position> last_valid_;
  std::optional<StateStore::Checkpoint> checkpoint_;
  std::map<ActorKey, Wanted> wanted_;
};

}  // namespace

VerifyReport verify_journal(const events::Log& log, const actors::Catalog& catalog,
                            const VerifyOptions& options) {
  return Verification(log, catalog, options).run();
}

}  // namespace soma::runtime
