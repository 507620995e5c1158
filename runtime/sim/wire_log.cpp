// Latencies, losses and doubles on the way to the log and back.
#include "runtime/sim/wire_log.h"

#include <algorithm>

#include "schemas/base/sha256.h"

namespace soma::sim {

using events::AppendReport;
using events::SimFault;

namespace {

AppendReport refused(const char* why) {
  return {AppendReport::Kind::kRefused, {}, {Code::kUnavailable, why, {}}};
}
AppendReport unknown(const char* why) {
  return {AppendReport::Kind::kUnknown, {}, {Code::kUnknownOutcome, why, {}}};
}

}  // namespace

WireLog::WireLog(std::shared_ptr<Life> life, events::SimLog& log, Rng rng)
    : log_(log), shared_(std::make_shared<Shared>(Shared{std::move(life), log, rng, false, {}})) {}

WireLog::~WireLog() { die(); }

void WireLog::append(PartitionId partition, std::string record, OnReport on_report) {
  Shared& s = *shared_;
  if (!s.life->enter()) return on_report(refused("simulated: the process is dead"));
  Lane& lane = s.lanes[partition.value];
  auto& time = s.life->ground.time;
  std::int64_t travel = s.rng.between(20, 400);
  auto& faults = s.life->ground.faults;
  if (faults.draw(Fault::kPartitionHeld)) travel += s.rng.between(1'000, 300'000);
  if (faults.draw(Fault::kClogged)) travel += s.rng.between(200'000, 3'000'000);
  lane.next_arrival_us = std::max(lane.next_arrival_us + 1, time.now_us() + travel);
  lane.wire.push_back({std::move(record), std::move(on_report)});
  time.at(
      lane.next_arrival_us,
      [shared = shared_, partition, owner = this] { arrive(shared, partition, owner); }, this);
}

void WireLog::arrive(const std::shared_ptr<Shared>& shared, PartitionId partition,
                     const void* owner) {
  Shared& s = *shared;
  Lane& lane = s.lanes[partition.value];
  if (lane.wire.empty()) return;  // lost with the process
  Waiting w = std::move(lane.wire.front());
  lane.wire.pop_front();
  auto& ground = s.life->ground;
  AppendReport report = store(s, partition, lane, std::move(w.record));
  std::int64_t delay = s.rng.between(20, 300);
  if (!s.gone && ground.faults.draw(Fault::kSlowReport)) delay = s.rng.between(1'000, 3'000'000);
  lane.next_report_us = std::max(lane.next_report_us + 1, ground.time.now_us() + delay);
  if (s.gone) return;
  lane.reports.emplace_back(std::move(w.on_report), std::move(report));
  report_at(shared, lane.next_report_us, partition, owner);
}

AppendReport WireLog::store(Shared& s, PartitionId partition, Lane& lane, std::string record) {
  auto& ground = s.life->ground;
  auto& faults = ground.faults;
  const std::string name = s.life->name + " p" + std::to_string(partition.value) + " " +
                           hex(sha256(record)).substr(0, 12);
  if (s.life->cut_off(s.life->log_cut_until_us)) {
    ground.note("cut off " + name);
    return unknown("simulated: the log cannot be reached");
  }
  if (lane.flaps == 0 && faults.draw(Fault::kLeaderFlap)) lane.flaps = 2 + s.rng.below(5);
  if (lane.flaps > 0 && --lane.flaps % 2 == 0) {
    ground.note("no leader " + name);
    return {AppendReport::Kind::kRefused, {}, {Code::kUnavailable, "simulated: no leader", {}}};
  }
  if (lane.truncated == 0 && faults.draw(Fault::kTruncatedTail))
    lane.truncated = 1 + s.rng.below(lane.wire.size() + 1);
  if (lane.truncated > 0) {
    --lane.truncated;
    ground.note("truncated " + name);
    return unknown("simulated: lost with its leader");
  }
  if (faults.draw(Fault::kLostAppend)) {
    ground.note("lost append " + name);
    return unknown("simulated: the record was lost");
  }
  if (faults.draw(Fault::kRefused)) {
    ground.note("refused " + name);
    return {AppendReport::Kind::kRefused, {}, {Code::kStorageFull, "simulated: refused", {}}};
  }
  if (faults.draw(Fault::kLateAppend)) {
    ground.note("late " + name);
    ground.time.after(s.rng.between(1'000, 2'000'000),
                      [&log = s.log, &ground, partition, name, record = std::move(record)] {
                        if (!log.health()) return;
                        ground.note("lands late " + name);
                        log.put_foreign(partition, record);
                      });
    return unknown("simulated: timed out");
  }
  SimFault fault = SimFault::kNone;
  if (faults.draw(Fault::kLostAck))
    fault = SimFault::kLostAck;
  else if (faults.draw(Fault::kDuplicate))
    fault = SimFault::kDuplicate;
  else if (faults.draw(Fault::kNoOffset))
    fault = SimFault::kNoOffset;
  else if (faults.draw(Fault::kOffsetGap))
    fault = SimFault::kGap;
  AppendReport report = unknown("simulated: no report");
  s.log.set_script([fault](PartitionId, std::uint64_t) { return fault; });
  s.log.append(partition, std::move(record), [&](const AppendReport& r) { report = r; });
  s.log.step(partition);
  ground.note("append " + name + " fault " + std::to_string(static_cast<int>(fault)) + " at " +
              (report.offset ? std::to_string(report.offset->value) : "?"));
  return report;
}

void WireLog::report_at(const std::shared_ptr<Shared>& shared, std::int64_t when_us,
                        PartitionId partition, const void* owner) {
  Life& life = *shared->life;
  life.ground.time.at(
      std::max(when_us, life.paused_until_us),
      [shared, partition, owner] {
        if (shared->life->paused())
          return report_at(shared, shared->life->paused_until_us, partition, owner);
        auto& reports = shared->lanes[partition.value].reports;
        if (reports.empty()) return;
        const auto [on_report, what] = std::move(reports.front());
        reports.pop_front();
        on_report(what);
      },
      owner);
}

Result<std::vector<events::Record>> WireLog::read(PartitionId partition, Offset from,
                                                  std::size_t max_bytes) const {
  Life& life = *shared_->life;
  if (!life.enter()) return fail(Code::kUnavailable, "simulated: the process is dead");
  if (life.ground.faults.draw(Fault::kReadError)) {
    life.ground.note(life.name + " read error");
    return fail(Code::kIo, "simulated: the read failed");
  }
  if (life.cut_off(life.log_cut_until_us))
    return fail(Code::kUnavailable, "simulated: the log cannot be reached");
  if (auto hidden = life.ground.hidden_before.find(partition.value);
      hidden != life.ground.hidden_before.end() && from < hidden->second) {
    life.head_was_hidden = true;
    return fail(Code::kCorrupt, "simulated: the log has no record " + std::to_string(from.value));
  }
  if (life.ground.faults.draw(Fault::kShortRead)) max_bytes = 1;  // one record, then
  return log_.read(partition, from, max_bytes);
}

std::uint64_t WireLog::follow(std::function<void(PartitionId)> on_grow) {
  const std::uint64_t id = log_.follow([life = shared_->life, on_grow](PartitionId p) {
    if (life->alive && !life->paused()) on_grow(p);
  });
  followed_.insert(id);
  return id;
}

void WireLog::unfollow(std::uint64_t subscription) {
  followed_.erase(subscription);
  log_.unfollow(subscription);
}

// A claim waits for its report: the wire's own events go ahead of the rest of the world. A process
// that dies meanwhile is told so, as its stack has to end.
bool WireLog::pump() {
  Life& life = *shared_->life;
  if (life.alive && life.ground.time.run_next_of(this)) {
    life.enter();
    return true;
  }
  life.alive = false;
  std::deque<OnReport> waiting;  // their records stay on the wire, and land below
  for (auto& [p, lane] : shared_->lanes)
    for (auto& w : lane.wire)
      waiting.push_back(std::exchange(w.on_report, [](const AppendReport&) {}));
  for (auto& told : waiting) told(refused("simulated: the process is dead"));
  // The waiter's own report may be on its way back already; nothing else can end its wait.
  while (life.ground.time.run_next_of(this)) {
  }
  return true;
}

void WireLog::die() {
  Shared& s = *shared_;
  if (s.gone) return;
  s.gone = true;
  for (std::uint64_t id : followed_) log_.unfollow(id);
  followed_.clear();
  for (auto& [p, lane] : s.lanes) {
    const auto reports = std::exchange(lane.reports, {});
    const std::size_t landing = static_cast<std::size_t>(s.rng.below(lane.wire.size() + 1));
    if (lane.wire.size() > landing) s.life->ground.faults.count(Fault::kUnsentTail);
    while (lane.wire.size() > landing) lane.wire.pop_back();
    for (auto& w : lane.wire) w.on_report = [](const AppendReport&) {};
  }
}

}  // namespace soma::sim
