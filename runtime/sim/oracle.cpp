// Reading behind the log, and comparing.
#include "runtime/sim/oracle.h"

#include <algorithm>

#include "schemas/base/sha256.h"

namespace soma::sim {

namespace {

std::string intent(const ActorKey& actor, const actors::Effect& effect) {
  return to_string(actor) + " " + effect.effect_id + " " + std::to_string(effect.attempt);
}

std::string digest(const actors::Message& state) {
  return sha256(actors::deterministic_bytes(state)).substr(0, 16);
}

}  // namespace

Oracle::Oracle(Ground& ground, events::SimLog& log, const actors::Catalog& catalog)
    : ground_(ground),
      log_(log),
      lanes_(log.partition_count()),
      journal_(catalog, {log.partition_count(), true, true,
                         [this](const ActorKey& key, const actors::ActorType& type,
                                const actors::Message& state, Sequence sequence) {
                           states_[key][sequence.value] = digest(state);
                           for (const auto& e : type.effects(key, state))
                             intents_.insert(intent(key, e));
                         }}) {
  following_ = log_.follow([this](PartitionId p) { catch_up(p); });
}

Oracle::~Oracle() { log_.unfollow(following_); }

void Oracle::complain(std::string invariant, Position at, std::string what) {
  ground_.note("VIOLATION " + invariant + " at " + to_string(at) + ": " + what);
  findings_.push_back({std::move(invariant), at, std::move(what)});
}

PartitionId Oracle::home(const ActorKey& actor) const {
  return partition_of(actor, log_.partition_count());
}

void Oracle::catch_up(PartitionId partition) {
  Lane& lane = lanes_[partition.value];
  auto records = log_.read(partition, lane.next, SIZE_MAX);
  for (auto& record : *records) {
    lane.next = record.offset.next();
    const Position at{partition, record.offset};
    auto frame = events::decode_frame(record.bytes);
    if (!frame) {
      complain("I13", at, "a stored record does not decode: " + frame.error().message);
      continue;
    }
    const std::string hash = sha256(record.bytes);
    const auto verdict = lane.fence.admit(**frame, hash);
    const std::size_t before = findings_.size();
    lane.record_check.take(at, **frame, hash, verdict, findings_);
    if (verdict == events::Verdict::kValid)
      take(lane, {at, *frame, hash});
    else
      ++voided_;
    if (verdict == events::Verdict::kStaleEpoch && !(*frame)->has_claim())
      ground_.faults.count(Fault::kZombieAppend);
    for (std::size_t i = before; i < findings_.size(); ++i)
      ground_.note("VIOLATION " + findings_[i].invariant + " at " + to_string(at) + ": " +
                   findings_[i].what);
  }
}

void Oracle::take(Lane& lane, const events::ValidFrame& valid) {
  ++frames_;
  decided_ += static_cast<std::uint64_t>(valid.frame->entries_size());
  lane.valid[valid.position.offset] = valid.frame->entries_size() > 0;
  if (valid.frame->has_claim()) {
    if (!lane.owner.empty() && lane.owner != valid.frame->claim().node_id())
      ground_.faults.count(Fault::kForeignClaim);
    lane.owner = valid.frame->claim().node_id();
  }
  std::map<ActorKey, Sequence> sequences;
  for (const auto& entry : valid.frame->entries()) {
    const ActorKey key = actors::to_key(entry.actor());
    auto [it, fresh] = sequences.try_emplace(key);
    if (const auto* folded = journal_.find(key); fresh && folded) it->second = folded->sequence;
    if (entry.events_size() > 0)
      it->second = Sequence{entry.events(entry.events_size() - 1).sequence()};
    if (entry.context().causation_id().empty() && entry.parked().empty())
      commands_.try_emplace(
          entry.context().command_id(),
          Applied{valid.position, entry.reply(), it->second, entry.events_size() > 0});
  }
  journal_.take(valid, findings_);
  for (const auto& listener : listeners_) listener(valid);
}

void Oracle::in_real_time(const std::string& id, Sequence told, const runtime::Accepted& accepted) {
  auto it = commands_.find(id);
  if (it == commands_.end()) return;  // I3 says so
  if (accepted.sequence < told || (it->second.wrote && accepted.sequence == told))
    complain("I3", accepted.position,
             id + " was sent after sequence " + std::to_string(told.value) +
                 " had been told, and is before it: " + std::to_string(accepted.sequence.value));
}

bool Oracle::owns(const std::string& process, PartitionId partition) const {
  return lanes_[partition.value].owner == process;
}

void Oracle::replied(const std::string& id, const runtime::Accepted& accepted) {
  auto it = commands_.find(id);
  if (it == commands_.end())
    return complain("I3", accepted.position, "acknowledged, but in no valid frame: " + id);
  const Applied& a = it->second;
  if (a.position != accepted.position || a.reply != accepted.reply)
    return complain("I5", accepted.position,
                    id + ": the reply is not the recorded one at " + to_string(a.position));
  if (a.sequence != accepted.sequence)
    complain("I5", accepted.position,
             id + ": told sequence " + std::to_string(accepted.sequence.value) + ", recorded is " +
                 std::to_string(a.sequence.value));
}

void Oracle::refused(const std::string& process, const ActorKey& actor, const std::string& id,
                     const Error& error) {
  if (!owns(process, home(actor)) || !holds(id)) return;  // a fenced owner's word is no promise
  complain("I5", commands_[id].position,
           id + " was refused (" + std::string(code_name(error.code)) + "), yet it is recorded");
}

void Oracle::showed(const ActorKey& actor, const runtime::StateView& view, Sequence acked) {
  const Position at = view.position;
  if (view.sequence.value == 0) {
    if (acked.value > 0)
      complain("I3", at, to_string(actor) + ": a read shows nothing of acknowledged events");
    return;
  }
  auto states = states_.find(actor);
  auto known = states == states_.end() ? decltype(states->second.end()){}
                                       : states->second.find(view.sequence.value);
  if (states == states_.end() || known == states->second.end())
    return complain("I4", at,
                    to_string(actor) + ": a read shows sequence " +
                        std::to_string(view.sequence.value) + ", which no valid frame ends with");
  if (known->second != digest(*view.state))
    complain("I8", at,
             to_string(actor) + ": the state at sequence " + std::to_string(view.sequence.value) +
                 " is not the fold of its events");
  if (view.sequence < acked)
    complain("I3", at,
             to_string(actor) + ": a read shows sequence " + std::to_string(view.sequence.value) +
                 " after " + std::to_string(acked.value) + " was acknowledged");
}

void Oracle::began(const std::string& process, const ActorKey& actor,
                   const actors::Effect& effect) {
  if (!intents_.contains(intent(actor, effect)))
    complain(
        "I4", {home(actor), {}},
        process + " runs effect " + intent(actor, effect) + ", which no valid frame calls for");
}

void Oracle::observed(Cursor& cursor, const events::ValidFrame& frame) {
  const PartitionId p = frame.position.partition;
  if (frame.frame->entries_size() == 0) return;
  Lane& lane = lanes_[p.value];
  auto it = lane.valid.lower_bound(cursor.next[p.value]);
  while (it != lane.valid.end() && !it->second) ++it;
  if (it == lane.valid.end() || it->first != frame.position.offset)
    complain(lane.valid.contains(frame.position.offset) ? "I10" : "I4", frame.position,
             "observers see this frame where " +
                 (it == lane.valid.end() ? "none" : std::to_string(it->first.value)) + " is next");
  cursor.next[p.value] = frame.position.offset.next();
}

void Oracle::observed_all(const std::string& process, const Cursor& cursor) {
  for (std::uint32_t p = 0; p < lanes_.size(); ++p) {
    if (!owns(process, PartitionId{p})) continue;
    auto next = cursor.next.find(p);
    for (auto it = lanes_[p].valid.lower_bound(next == cursor.next.end() ? Offset{} : next->second);
         it != lanes_[p].valid.end(); ++it)
      if (it->second)
        return complain("I10", {PartitionId{p}, it->first}, "observers never saw this frame");
  }
}

std::vector<std::string> Oracle::pending_effects(const std::set<ActorKey>& patient,
                                                 std::int64_t wall_ms) const {
  std::vector<std::string> out;
  for (const auto& [key, actor] : journal_.actors())
    for (const auto& effect : actor.type->effects(key, *actor.state))
      if (effect.unknown.empty() && (effect.not_before_ms <= wall_ms || !patient.contains(key)))
        out.push_back(intent(key, effect));
  return out;
}

std::int64_t Oracle::latest_wait_ms() const {
  std::int64_t latest = 0;
  for (const auto& [key, actor] : journal_.actors())
    for (const auto& effect : actor.type->effects(key, *actor.state))
      latest = std::max(latest, effect.not_before_ms - ground_.wall_ms());
  return latest;
}

void Oracle::check_rot(Rng rng) {
  for (std::uint32_t p = 0; p < lanes_.size(); ++p) {
    Lane& lane = lanes_[p];
    if (lane.valid.size() < 2) continue;
    auto victim = lane.valid.begin();
    std::advance(victim, static_cast<std::ptrdiff_t>(rng.below(lane.valid.size() - 1)));
    const Position at{PartitionId{p}, victim->first};
    auto records = log_.read(at.partition, at.offset, 1);
    auto all = log_.read(at.partition, Offset{}, SIZE_MAX);
    if (std::count_if(all->begin(), all->end(), [&](const events::Record& r) {
          return r.bytes == records->front().bytes;
        }) > 1)
      continue;  // stored twice: the other copy stands in for a void one
    const std::size_t byte = static_cast<std::size_t>(rng.below(records->front().bytes.size()));
    ground_.faults.count(Fault::kLogRot);
    log_.flip(at, byte);
    events::FrameReader reader(log_, at.partition);
    Result<std::vector<events::ValidFrame>> batch;
    do {
      batch = reader.next();
    } while (batch && !batch->empty());
    if (batch && reader.fence().head() == lane.fence.head())
      complain("I13", at, "a flipped byte " + std::to_string(byte) + " goes unnoticed");
    log_.flip(at, byte);
  }
}

}  // namespace soma::sim
