// The group's hints and the journal's claims, turned into open and close.
#include "runtime/cluster/ownership.h"

#include "runtime/telemetry/log.h"

namespace soma::runtime {

namespace {

using Turn = events::Membership::Turn;

Epoch epoch_of(const PartitionHost& host, PartitionId p) {
  for (const auto& status : host.status())
    if (status.partition == p) return status.epoch;
  return {};
}

}  // namespace

HostParts::Shared Ownership::shared() {
  HostParts::Shared out;
  out.on_fenced = [this](PartitionId p) {
    log_warn("another node has claimed a partition that was ours", {{"partition", p.value}});
    std::lock_guard lock(mutex_);
    fenced_ms_[p] = parts_.clock->steady_ms();
  };
  out.relay = [this](PartitionId source, PartitionId target, v1::OutboxItem send) {
    v1::ClusterRelay item;
    item.set_source(source.value);
    item.set_target(target.value);
    *item.mutable_send() = std::move(send);
    tell(target, std::move(item));
  };
  out.acknowledge = [this](PartitionId source, PartitionId target, std::uint64_t number) {
    v1::ClusterRelay item;
    item.set_source(source.value);
    item.set_target(target.value);
    item.set_arrived(number);
    tell(source, std::move(item));
  };
  return out;
}

void Ownership::tell(PartitionId partition, v1::ClusterRelay item) {
  const auto owner = directory_.owner(partition);
  if (!owner || owner->node_id == parts_.node_id || owner->address.empty()) return;
  parts_.peers->relay(owner->address, std::move(item));
}

std::vector<events::Bookmark> Ownership::begin() {
  std::vector<events::Bookmark> out;
  for (PartitionId p{0}; p.value < parts_.partitions; p = p.next()) {
    auto known = local_->known(p);
    if (!known.claim.node_id().empty()) directory_.take(p, known.claim, known.until.fence.epoch());
    out.push_back(std::move(known.until));
  }
  return out;
}

void Ownership::took(const events::ValidFrame& frame) {
  if (directory_.take(frame) && frame.frame->claim().node_id() != parts_.node_id)
    local_->claimed_elsewhere(frame.position.partition, Epoch{frame.frame->epoch()});
  local_->followed(frame);
}

// What the group has lost sight of is served on: it may be its coordinator that went away, not this
// node; and where another node is given the partition, its claim ends this one's.
void Ownership::changed(PartitionId p, Turn turn) {
  log_info(turn == Turn::kGiven  ? "partition given to this node"
           : turn == Turn::kLost ? "the group lost sight of this node; it serves on"
                                 : "partition asked back",
           {{"partition", p.value}});
  if (turn == Turn::kGiven) {
    std::lock_guard lock(mutex_);
    fenced_ms_.erase(p);
    return local_->open(p);
  }
  if (turn == Turn::kLost) return;
  local_->close(p, [this, p, was_here = local_->here(p), epoch = epoch_of(*local_, p)] {
    if (leaving_ && was_here) hand_over(p, epoch);
    std::lock_guard lock(mutex_);
    if (membership_) membership_->released(p);
  });
}

// Nothing of it is in flight any more: who will be given it by the group may claim it now.
void Ownership::hand_over(PartitionId p, Epoch epoch) {
  const std::string heir = parts_.heir(p);
  if (heir.empty()) return;
  v1::ClusterRelay item;
  item.mutable_handover()->set_from_node(parts_.node_id);
  item.mutable_handover()->set_partition(p.value);
  item.mutable_handover()->set_epoch(epoch.value);
  parts_.peers->relay(heir, std::move(item));
}

// A late one is of somebody who owns it no more: it is claimed only while the leaver's claim is the
// highest in the log. If the group means another node, that one's claim ends this one's.
void Ownership::handed_over(const v1::ClusterHandover& handover) {
  const PartitionId p{handover.partition()};
  const auto owner = directory_.owner(p);
  if (!owner || owner->node_id != handover.from_node() || local_->here(p)) return;
  std::lock_guard lock(mutex_);
  if (!membership_ || closed_ || leaving_) return;
  log_info("partition handed over to this node", {{"partition", p.value}});
  // A leaver of an earlier build names no epoch: then the claim that was followed.
  local_->open(p, handover.epoch() ? Epoch{handover.epoch()} : owner->epoch);
}

void Ownership::reconcile() {
  std::lock_guard lock(mutex_);
  if (!membership_ || closed_) return;
  const std::int64_t now = parts_.clock->steady_ms();
  for (const PartitionId p : membership_->given()) {
    if (local_->here(p)) continue;
    if (auto it = fenced_ms_.find(p); it != fenced_ms_.end()) {
      if (now - it->second < parts_.session_timeout_ms) continue;
      fenced_ms_.erase(it);
    }
    local_->open(p);
  }
}

Status Ownership::joined(std::unique_ptr<events::Membership> membership) {
  std::lock_guard lock(mutex_);
  if (closed_ || leaving_) return fail(Code::kCancelled, "the node is stopping");
  membership_ = std::move(membership);
  return {};
}

Status Ownership::health() {
  std::lock_guard lock(mutex_);
  return membership_ ? membership_->health() : Status{};
}

void Ownership::leave() {
  leaving_ = true;
  std::lock_guard lock(mutex_);
  if (membership_) membership_->leave();
}

bool Ownership::left() {
  std::lock_guard lock(mutex_);
  return !membership_ || membership_->left();
}

void Ownership::close() {
  std::unique_ptr<events::Membership> membership;  // ends outside of the lock: its thread may wait
  std::lock_guard lock(mutex_);
  closed_ = true;
  membership = std::move(membership_);
}

}  // namespace soma::runtime
