// Looks at the group, follows what it would inherit, tells the others how far it is.
#include "runtime/cluster/standbys.h"

#include <algorithm>
#include <chrono>
#include <tuple>

#include "runtime/cluster/heirs.h"
#include "runtime/telemetry/log.h"
#include "schemas/base/thread_name.h"

namespace soma::runtime {

namespace {

bool alone_or_in(const events::GroupView& group, const std::string& node_id) {
  return group.members.empty() || std::any_of(group.members.begin(), group.members.end(),
                                              [&](const auto& m) { return m.node_id == node_id; });
}

std::set<PartitionId> all_of(const events::Log& log) {
  std::set<PartitionId> out;
  for (std::uint32_t p = 0; p < log.partition_count(); ++p) out.insert(PartitionId{p});
  return out;
}

std::uint64_t lag_of(const events::Log& log, PartitionId p, Offset next) {
  const Offset end = log.end(p);
  return end > next ? end.value - next.value : 0;
}

}  // namespace

Standbys::Standbys(Parts parts) : parts_(std::move(parts)) {}

Status Standbys::join() {
  bool now = parts_.wanted == 0;
  if (!now) {
    const auto group = parts_.look();
    if (!group)
      log_warn("the group of nodes cannot be looked at; it is joined without warming up",
               {{"reason", group.error().message}});
    now = !group || alone_or_in(*group, parts_.node_id);
  }
  if (now) {
    if (auto ok = parts_.join(); !ok) return ok;
    joined_ = true;
  } else {
    log_info("other nodes serve; this one warms up before it takes partitions");
    parts_.local->stand_by_for(all_of(*parts_.log));
  }
  if (parts_.wanted == 0) return {};
  running_ = true;
  thread_ = std::thread([this] {
    name_thread("soma-standbys");
    run();
    std::lock_guard lock(mutex_);
    running_ = false;
  });
  return {};
}

void Standbys::ask_stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
}

bool Standbys::stopped() const {
  std::lock_guard lock(mutex_);
  return !running_;
}

void Standbys::stop() {
  ask_stop();
  if (thread_.joinable()) thread_.join();
}

bool Standbys::joined() const {
  std::lock_guard lock(mutex_);
  return joined_;
}

void Standbys::run() {
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      const auto wait = std::chrono::milliseconds(joined_ ? kLookMs : kLookSoonMs);
      if (changed_.wait_for(lock, wait, [&] { return stopping_; })) return;
    }
    step();
  }
}

void Standbys::step() {
  const auto group = parts_.look();  // when it cannot be seen, all stays as it is
  if (joined()) {
    if (group && group->stable) choose(*group);
  } else if (warm() || (group && alone_or_in(*group, parts_.node_id))) {
    if (auto ok = parts_.join(); !ok) {
      log_warn("the group of nodes cannot be joined; trying again",
               {{"reason", ok.error().message}});
    } else {
      log_info("warm: this node takes its share of the partitions");
      const std::int64_t now = parts_.clock->steady_ms();
      for (const auto& p : all_of(*parts_.log)) chosen_ms_[p] = now;
      std::lock_guard lock(mutex_);
      joined_ = true;
    }
  }
  report();
}

// One that cannot follow, and not for a moment only, will not get warmer by waiting.
bool Standbys::warm() const {
  const auto standbys = parts_.local->standbys();
  return standbys.size() == parts_.log->partition_count() &&
         std::all_of(standbys.begin(), standbys.end(), [&](const auto& s) {
           return s.lasting || (s.problem.empty() &&
                                lag_of(*parts_.log, s.partition, s.next) <= parts_.acceptable_lag);
         });
}

void Standbys::choose(const events::GroupView& group) {
  const std::int64_t now = parts_.clock->steady_ms();
  auto found = heirs(group, parts_.wanted);
  for (const auto& [p, nodes] : found)
    if (std::find(nodes.begin(), nodes.end(), parts_.node_id) != nodes.end()) chosen_ms_[p] = now;
  std::erase_if(chosen_ms_, [&](const auto& c) { return now - c.second > kKeepMs; });
  std::set<PartitionId> wanted;
  for (const auto& [p, at] : chosen_ms_) wanted.insert(p);
  parts_.local->stand_by_for(wanted);
  std::lock_guard lock(mutex_);
  heirs_ = std::move(found);
}

std::string Standbys::heir(PartitionId partition) const {
  std::lock_guard lock(mutex_);
  const auto it = heirs_.find(partition);
  if (it == heirs_.end() || it->second.empty()) return {};
  const auto other = others_.find(it->second.front());
  return other != others_.end() && other->second.places.contains(partition) ? other->second.address
                                                                            : std::string{};
}

void Standbys::report() {
  const auto standbys = parts_.local->standbys();
  if (standbys.empty()) return;
  v1::ClusterRelay item;
  auto& told = *item.mutable_standby();
  told.set_node_id(parts_.node_id);
  told.set_address(parts_.address);
  for (const auto& s : standbys) {
    auto* place = told.add_places();
    place->set_partition(s.partition.value);
    place->set_next(s.next.value);
  }
  std::set<std::string> addresses;
  for (auto& address : parts_.others()) addresses.insert(std::move(address));
  {
    std::lock_guard lock(mutex_);  // also those that own nothing
    for (const auto& [id, other] : others_) addresses.insert(other.address);
  }
  for (const auto& address : addresses) parts_.tell(address, item);
}

void Standbys::took(const v1::ClusterStandby& standby) {
  if (standby.node_id() == parts_.node_id) return;
  std::lock_guard lock(mutex_);
  const std::int64_t now = parts_.clock->steady_ms();
  std::erase_if(others_, [&](const auto& o) { return now - o.second.heard_ms > kForgetMs; });
  auto& other = others_[standby.node_id()];
  other = {standby.address(), {}, now};
  for (const auto& place : standby.places())
    if (place.partition() < parts_.log->partition_count())
      other.places[PartitionId{place.partition()}] = Offset{place.next()};
}

std::vector<Standbys::Row> Standbys::rows() const {
  std::vector<Row> out;
  for (const auto& s : parts_.local->standbys())
    out.push_back({s.partition, parts_.node_id, lag_of(*parts_.log, s.partition, s.next), true});
  {
    std::lock_guard lock(mutex_);
    const std::int64_t now = parts_.clock->steady_ms();
    for (const auto& [id, other] : others_)
      if (now - other.heard_ms <= kForgetMs)
        for (const auto& [p, next] : other.places)
          out.push_back({p, id, lag_of(*parts_.log, p, next)});
  }
  std::sort(out.begin(), out.end(), [](const Row& a, const Row& b) {
    return std::tie(a.partition, a.node_id) < std::tie(b.partition, b.node_id);
  });
  return out;
}

}  // namespace soma::runtime
