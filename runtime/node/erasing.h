// Joins what erases with the journal's engine: a folder's records and caches, or a cluster's.
#pragma once

#include <memory>

#include "runtime/cluster/cluster.h"
#include "runtime/config/config.h"
#include "runtime/erasure/erasures.h"
#include "runtime/erasure/node_caches.h"
#include "runtime/node/journal.h"

namespace soma::runtime {

// Owned by the node. In the order of these calls; the sealing outlives it.
class Erasing {
 public:
  // Before any cache of the data folder is opened. On a cluster snapshots go here if others erased
  // while this node was away, and erasures of a moved journal become the cluster's.
  static Result<std::unique_ptr<Erasing>> open(const config::Config& config, Sealing sealing,
                                               const Clock& clock);
  // Before partitions are opened. All that is given outlives stop().
  void follow(erasure::Caches caches);
  // As HostParts::Shared::before_claim.
  Status may_serve() { return caches_ ? caches_->may_serve() : Status{}; }
  // `cluster`: null where the journal is not shared. `host`: the routes'.
  erasure::Erasures& serve(events::Log& log, Host& host, const PartitionHost& here,
                           const Cluster* cluster, std::function<Result<security::Key>()> key);
  // What is left of earlier lives goes on; when partitions serve.
  Status resume() { return erasures_ ? erasures_->resume() : Status{}; }
  void ask_stop();  // whoever waits in it goes on soon
  void stop();

 private:
  Erasing(const config::Config& config, std::string node_id, Sealing sealing, const Clock& clock)
      : config_(config),
        node_id_(std::move(node_id)),
        sealing_(std::move(sealing)),
        clock_(clock) {}
  Status take_records();

  const config::Config& config_;
  const std::string node_id_;
  const Sealing sealing_;
  const Clock& clock_;
  std::unique_ptr<erasure::TopicRecords> records_;  // of a cluster
  std::unique_ptr<erasure::NodeCaches> caches_;     // of a cluster
  erasure::Caches of_node_;
  std::unique_ptr<erasure::Erasures> erasures_;
};

}  // namespace soma::runtime
