// The parts of a node of several, put together.
#include "runtime/cluster/cluster.h"

#include <chrono>
#include <future>
#include <thread>

namespace soma::runtime {

namespace {
constexpr std::int64_t kReconcileMs = 500;

std::string host_of(const std::string& address) { return address.substr(0, address.rfind(':')); }
}  // namespace

Cluster::Cluster(ClusterOptions options, events::Log& log, const actors::Catalog& catalog,
                 Clock& clock)
    : options_(std::move(options)),
      log_(log),
      catalog_(catalog),
      clock_(clock),
      peers_(std::make_unique<HttpPeers>(options_.node_id, options_.secret, options_.tls, clock)),
      ownership_({options_.node_id, log.partition_count(), options_.session_timeout_ms,
                  peers_.get(), &clock, [this](PartitionId p) { return standbys_->heir(p); }}),
      life_(std::make_shared<Life>()) {
  life_->cluster = this;
}

Result<std::unique_ptr<Cluster>> Cluster::start(ClusterOptions options, events::Log& log,
                                                const actors::Catalog& catalog, Clock& clock) {
  std::unique_ptr<Cluster> out(new Cluster(std::move(options), log, catalog, clock));
  const auto& o = out->options_;
  auto server =
      ClusterServer::start(o.listen, o.secret, o.tls, clock, log.partition_count(), o.metrics);
  if (!server) return tl::unexpected(server.error());
  out->server_ = std::move(*server);
  out->address_ = o.advertise.empty() ? out->server_->address(host_of(o.listen)) : o.advertise;
  return out;
}

Cluster::~Cluster() { close(); }

Host& Cluster::serve(PartitionHost& local, TokenHub& tokens) {
  local_ = &local;
  ownership_.serve(local);
  tokens_ = std::make_unique<TokenRelay>(
      tokens, clock_, address_,
      [this](const std::string& address, v1::ClusterRelay item) {
        peers_->relay(address, std::move(item));
      },
      [this] { return ownership_.directory().addresses(options_.node_id); });
  standbys_ = std::make_unique<Standbys>(Standbys::Parts{
      options_.node_id, address_, &log_, &local, &clock_, options_.standbys,
      options_.acceptable_lag, [this] { return look_(); }, [this] { return join_now(join_); },
      [this] { return ownership_.directory().addresses(options_.node_id); },
      [this](const std::string& address, v1::ClusterRelay item) {
        peers_->relay(address, std::move(item));
      }});
  ClusterHost::Parts parts{
      &local,  &ownership_.directory(), peers_.get(),           &catalog_,
      &clock_, options_.node_id,        log_.partition_count(), options_.answer_ms};
  host_ = std::make_unique<ClusterHost>(std::move(parts));
  server_->serve(&local, tokens_.get(), standbys_.get(),
                 [this](const v1::ClusterHandover& handover) { ownership_.handed_over(handover); });
  follower_ = std::make_unique<JournalFollower>(
      log_, [this](const events::ValidFrame& frame) { ownership_.took(frame); },
      JournalFollower::From::kLog, ownership_.begin());
  reconcile_later();
  return *host_;
}

std::vector<std::string> Cluster::heads_elsewhere(const std::string& tenant) {
  std::vector<std::future<std::vector<std::string>>> asked;
  for (const auto& address : ownership_.directory().addresses(options_.node_id)) {
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

Status Cluster::join(Join join, Look look) {
  join_ = std::move(join);
  look_ = std::move(look);
  return standbys_->join();
}

Status Cluster::join_now(const Join& join) {
  auto membership =
      join([this](PartitionId p, events::Membership::Turn turn) { ownership_.changed(p, turn); });
  if (!membership) return tl::unexpected(membership.error());
  return ownership_.joined(std::move(*membership));
}

void Cluster::reconcile_later() {
  clock_.call_in(kReconcileMs, [life = life_] {
    std::lock_guard lock(life->mutex);
    if (!life->cluster) return;
    life->cluster->ownership_.reconcile();
    life->cluster->tokens_->tick();
    life->cluster->reconcile_later();
  });
}

bool Cluster::settled() const {
  if (!follower_ || !follower_->settle(0)) return false;
  for (const auto& p : local_->status())
    if (!p.serving) return false;
  for (std::uint32_t i = 0; i < log_.partition_count(); ++i) {
    if (local_->here(PartitionId{i})) continue;
    const auto owner = ownership_.directory().owner(PartitionId{i});
    if (!owner || owner->node_id == options_.node_id) return false;
  }
  return true;
}

bool Cluster::leave(std::int64_t timeout_ms) {
  const std::int64_t until = clock_.steady_ms() + timeout_ms;
  if (standbys_) standbys_->ask_stop();  // it joins nothing any more
  ownership_.leave();
  const auto done = [&] { return ownership_.left() && (!standbys_ || standbys_->stopped()); };
  while (!done() && clock_.steady_ms() < until)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  return ownership_.left();
}

void Cluster::give_up() {
  if (host_) host_->close();
}

void Cluster::close() {
  {
    std::lock_guard lock(life_->mutex);
    if (!std::exchange(life_->cluster, nullptr)) return;
  }
  if (standbys_) standbys_->stop();
  ownership_.close();
  if (server_) server_->stop();
  if (follower_) follower_->stop();
  if (host_) host_->close();
  peers_->stop();
}

}  // namespace soma::runtime
