// The group's hints and the journal's claims, turned into open and close.
#include "runtime/cluster/cluster.h"

#include <chrono>
#include <future>
#include <thread>

#include "runtime/telemetry/log.h"

namespace soma::runtime {

namespace {
using Turn = events::Membership::Turn;
constexpr std::int64_t kReconcileMs = 500;

Epoch epoch_of(const PartitionHost& host, PartitionId p) {
  for (const auto& status : host.status())
    if (status.partition == p) return status.epoch;
  return {};
}

std::string host_of(const std::string& address) { return address.substr(0, address.rfind(':')); }
}  // namespace

Cluster::Cluster(ClusterOptions options, events::Log& log, const actors::Catalog& catalog,
                 Clock& clock)
    : options_(std::move(options)),
      log_(log),
      catalog_(catalog),
      clock_(clock),
      peers_(std::make_unique<Peers>(options_.node_id, options_.secret, clock)),
      life_(std::make_shared<Life>()) {
  life_->cluster = this;
}

Result<std::unique_ptr<Cluster>> Cluster::start(ClusterOptions options, events::Log& log,
                                                const actors::Catalog& catalog, Clock& clock) {
  std::unique_ptr<Cluster> out(new Cluster(std::move(options), log, catalog, clock));
  const auto& o = out->options_;
  auto server = ClusterServer::start(o.listen, o.secret, clock, log.partition_count());
  if (!server) return tl::unexpected(server.error());
  out->server_ = std::move(*server);
  out->address_ = o.advertise.empty() ? out->server_->address(host_of(o.listen)) : o.advertise;
  return out;
}

Cluster::~Cluster() { close(); }

HostParts::Shared Cluster::shared() {
  HostParts::Shared out;
  out.on_fenced = [this](PartitionId p) {
    log_warn("another node has claimed a partition that was ours", {{"partition", p.value}});
    std::lock_guard lock(mutex_);
    fenced_ms_[p] = clock_.now_ms();
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

void Cluster::tell(PartitionId partition, v1::ClusterRelay item) {
  const auto owner = directory_.owner(partition);
  if (!owner || owner->node_id == options_.node_id || owner->address.empty()) return;
  peers_->relay(owner->address, std::move(item));
}

Host& Cluster::serve(PartitionHost& local, TokenHub& tokens, OnFrame on_foreign) {
  local_ = &local;
  tokens_ = std::make_unique<TokenRelay>(
      tokens, clock_, address_,
      [this](const std::string& address, v1::ClusterRelay item) {
        peers_->relay(address, std::move(item));
      },
      [this] { return directory_.addresses(options_.node_id); });
  standbys_ = std::make_unique<Standbys>(Standbys::Parts{
      options_.node_id, address_, &log_, &local, &clock_, options_.standbys,
      options_.acceptable_lag, [this] { return look_(); }, [this] { return join_now(join_); },
      [this] { return directory_.addresses(options_.node_id); },
      [this](const std::string& address, v1::ClusterRelay item) {
        peers_->relay(address, std::move(item));
      }});
  on_foreign_ = std::move(on_foreign);
  ClusterHost::Parts parts{&local,  &directory_,      peers_.get(),          &catalog_,
                           &clock_, options_.node_id, log_.partition_count()};
  host_ = std::make_unique<ClusterHost>(std::move(parts));
  server_->serve(&local, tokens_.get(), standbys_.get(),
                 [this](const v1::ClusterHandover& handover) { handed_over(handover); });
  follower_ = std::make_unique<JournalFollower>(
      log_, [this](const events::ValidFrame& frame) { took(frame); }, JournalFollower::From::kLog);
  reconcile_later();
  return *host_;
}

std::vector<std::string> Cluster::heads_elsewhere(const std::string& tenant) {
  std::vector<std::future<std::vector<std::string>>> asked;
  for (const auto& address : directory_.addresses(options_.node_id)) {
    auto told = std::make_shared<std::promise<std::vector<std::string>>>();
    asked.push_back(told->get_future());
    v1::ClusterCall call;
    call.mutable_heads()->set_tenant(tenant);
    peers_->call(address, std::move(call), [told](const Peers::Reply& reply) {
      std::vector<std::string> lines;
      if (reply.kind == Peers::Reply::Kind::kAnswered)
        lines.assign(reply.answer.heads().begin(), reply.answer.heads().end());
      told->set_value(std::move(lines));
    });
  }
  std::vector<std::string> out;
  const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(kHeadsWaitMs);
  for (auto& one : asked)
    if (one.wait_until(until) == std::future_status::ready)
      for (auto& line : one.get()) out.push_back(std::move(line));
  return out;
}

void Cluster::took(const events::ValidFrame& frame) {
  const PartitionId p = frame.position.partition;
  if (directory_.take(frame) && frame.frame->claim().node_id() != options_.node_id)
    local_->claimed_elsewhere(p, Epoch{frame.frame->epoch()});
  local_->followed(frame);
  if (local_->here(p)) return;  // the host tells of these
  on_foreign_(frame);
  host_->foreign(frame);
}

Status Cluster::join(Join join, Look look) {
  join_ = std::move(join);
  look_ = std::move(look);
  return standbys_->join();
}

Status Cluster::join_now(const Join& join) {
  auto membership = join([this](PartitionId p, Turn turn) { changed(p, turn); });
  if (!membership) return tl::unexpected(membership.error());
  std::lock_guard lock(mutex_);
  if (closed_ || leaving_) return fail(Code::kCancelled, "the node is stopping");
  membership_ = std::move(*membership);
  return {};
}

// On the group's thread. What the group has lost sight of is served on: it may be its coordinator
// that went away, not this node; and where another node is given the partition, its claim ends this
// one's.
void Cluster::changed(PartitionId p, Turn turn) {
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
void Cluster::hand_over(PartitionId p, Epoch epoch) {
  const std::string heir = standbys_->heir(p);
  if (heir.empty()) return;
  v1::ClusterRelay item;
  item.mutable_handover()->set_from_node(options_.node_id);
  item.mutable_handover()->set_partition(p.value);
  item.mutable_handover()->set_epoch(epoch.value);
  peers_->relay(heir, std::move(item));
}

// A late one is of somebody who owns it no more: it is claimed only while the leaver's claim is the
// highest in the log. If the group means another node, that one's claim ends this one's.
void Cluster::handed_over(const v1::ClusterHandover& handover) {
  const PartitionId p{handover.partition()};
  const auto owner = directory_.owner(p);
  if (!owner || owner->node_id != handover.from_node() || local_->here(p)) return;
  std::lock_guard lock(mutex_);
  if (!membership_ || closed_ || leaving_) return;
  log_info("partition handed over to this node", {{"partition", p.value}});
  // A leaver of an earlier build names no epoch: then the claim that was followed.
  local_->open(p, handover.epoch() ? Epoch{handover.epoch()} : owner->epoch);
}

void Cluster::reconcile_later() {
  clock_.call_at(clock_.now_ms() + kReconcileMs, [life = life_] {
    std::lock_guard lock(life->mutex);
    if (!life->cluster) return;
    life->cluster->reconcile();
    life->cluster->tokens_->tick();
    life->cluster->reconcile_later();
  });
}

// What the group gave and is not open: it was fenced, or closed too late to be opened in time.
void Cluster::reconcile() {
  std::lock_guard lock(mutex_);
  if (!membership_ || closed_) return;
  const std::int64_t now = clock_.now_ms();
  for (const PartitionId p : membership_->given()) {
    if (local_->here(p)) continue;
    if (auto it = fenced_ms_.find(p); it != fenced_ms_.end()) {
      if (now - it->second < options_.session_timeout_ms) continue;
      fenced_ms_.erase(it);
    }
    local_->open(p);
  }
}

bool Cluster::settled() const {
  if (!follower_ || !follower_->settle(0)) return false;
  for (const auto& p : local_->status())
    if (!p.serving) return false;
  for (std::uint32_t i = 0; i < log_.partition_count(); ++i) {
    if (local_->here(PartitionId{i})) continue;
    const auto owner = directory_.owner(PartitionId{i});
    if (!owner || owner->node_id == options_.node_id) return false;
  }
  return true;
}

Status Cluster::health() {
  std::lock_guard lock(mutex_);
  return membership_ ? membership_->health() : Status{};
}

bool Cluster::leave(std::int64_t timeout_ms) {
  const std::int64_t until = clock_.now_ms() + timeout_ms;
  leaving_ = true;
  if (standbys_) standbys_->ask_stop();  // it joins nothing any more
  events::Membership* membership = nullptr;
  {
    std::lock_guard lock(mutex_);
    membership = membership_.get();
  }
  if (membership) membership->leave();
  const auto done = [&] {
    return (!membership || membership->left()) && (!standbys_ || standbys_->stopped());
  };
  while (!done() && clock_.now_ms() < until)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  return !membership || membership->left();
}

void Cluster::close() {
  {
    std::lock_guard lock(life_->mutex);
    life_->cluster = nullptr;
  }
  if (standbys_) standbys_->stop();
  std::unique_ptr<events::Membership> membership;
  {
    std::lock_guard lock(mutex_);
    if (std::exchange(closed_, true)) return;
    membership = std::move(membership_);
  }
  membership.reset();
  server_->stop();
  if (follower_) follower_->stop();
  if (host_) host_->close();
  peers_->stop();
}

}  // namespace soma::runtime
