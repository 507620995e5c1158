// One or the other.
#include "runtime/node/erasing.h"

#include <boost/json.hpp>

namespace soma::runtime {

using erasure::FolderRecords;
using erasure::NodeCaches;
using erasure::TopicRecords;

Result<std::unique_ptr<Erasing>> Erasing::open(const config::Config& config,
                                               const std::string& node_id, Sealing sealing,
                                               const Clock& clock) {
  std::unique_ptr<Erasing> out(new Erasing(config, node_id, std::move(sealing), clock));
  auto* keys = out->sealing_.cluster_keys;
  if (!keys) return out;
  out->records_ = std::make_unique<TopicRecords>(*keys);
  if (auto ok = out->take_records(); !ok) return tl::unexpected(ok.error());
  auto caches = NodeCaches::open(*keys, *out->records_, config.data_dir, node_id, clock);
  if (!caches) return tl::unexpected(caches.error());
  out->caches_ = std::move(*caches);
  return out;
}

Status Erasing::take_records() {
  FolderRecords folder(config_.data_dir);
  auto left = folder.pending();
  if (!left) return tl::unexpected(left.error());
  for (const auto& pending : *left)
    if (auto ok = records_->begin(pending); !ok) return ok;
  for (const auto& certificate : folder.certificates()) {
    erasure::Pending of;
    of.id = certificate.at("erasure_id").as_string();
    if (auto ok = records_->finish(of, certificate); !ok) return ok;
  }
  folder.remove_all();
  return {};
}

void Erasing::follow(erasure::Caches caches) {
  of_node_ = std::move(caches);
  if (caches_) caches_->follow(of_node_);
}

erasure::Erasures& Erasing::serve(events::Log& log, Host& host, const PartitionHost& here,
                                  const Cluster* cluster,
                                  std::function<Result<security::Key>()> key) {
  erasure::Parts parts{&log,           sealing_.sealer,          &host, of_node_, &clock_,
                       std::move(key), config_.erasure_two_keys, {}};
  if (records_) {
    auto& shared = parts.shared.emplace();
    shared.keys = sealing_.cluster_keys;
    shared.records = records_.get();
    shared.carries_out = [&here] { return here.here(PartitionId{0}); };
    shared.owners = [cluster, id = node_id_] {
      return cluster ? cluster->owners() : std::set<std::string>{id};
    };
    shared.removed = {config_.privacy_removed_nodes.begin(), config_.privacy_removed_nodes.end()};
  }
  erasures_ = std::make_unique<erasure::Erasures>(std::move(parts));
  return *erasures_;
}

void Erasing::ask_stop() {
  if (erasures_) erasures_->ask_stop();
  if (caches_) caches_->ask_stop();
}

void Erasing::stop() {
  if (erasures_) erasures_->stop();
  if (caches_) caches_->stop();
}

}  // namespace soma::runtime
