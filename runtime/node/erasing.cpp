// One or the other.
#include "runtime/node/erasing.h"

#include <boost/json.hpp>

#include "runtime/node/node_id.h"

namespace soma::runtime {

using erasure::FolderRecords;
using erasure::NodeCaches;
using erasure::TopicRecords;

Result<std::unique_ptr<Erasing>> Erasing::open(const config::Config& config, Sealing sealing,
                                               const Clock& clock) {
  auto node_id = node_id_of(config);
  if (!node_id) return tl::unexpected(node_id.error());
  std::unique_ptr<Erasing> out(new Erasing(config, *node_id, std::move(sealing), clock));
  auto* keys = out->sealing_.cluster_keys;
  if (!keys) return out;
  out->records_ = std::make_unique<TopicRecords>(*keys);
  if (auto ok = out->take_records(); !ok) return tl::unexpected(ok.error());
  auto caches = NodeCaches::open(*keys, *out->records_, config.data_dir, *node_id, clock);
  if (!caches) return tl::unexpected(caches.error());
  out->caches_ = std::move(*caches);
  return out;
}

Status Erasing::take_records() {
  FolderRecords folder(config_.data_dir);
  auto left = folder.pending();
  if (!left) return tl::unexpected(left.error());
  if (auto ok = records_->adopt(*left, folder.certificates()); !ok) return ok;
  folder.remove_all();
  return {};
}

void Erasing::follow(erasure::Caches caches) {
  of_node_ = std::move(caches);
  if (caches_) caches_->follow(erasure::work_of(of_node_));
}

erasure::Erasures& Erasing::serve(events::Log& log, Host& host, const PartitionHost& here,
                                  const Cluster* cluster,
                                  std::function<Result<security::Key>()> key) {
  erasure::Parts parts{&log,           sealing_.sealer,          &host, of_node_.data_dir, &clock_,
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
  erasures_ = std::make_unique<erasure::Erasures>(std::move(parts), erasure::work_of(of_node_));
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
