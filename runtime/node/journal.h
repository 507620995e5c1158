// The journal of a node: which engine the settings ask for, and that the data folder belongs to it.
#pragma once

#include <memory>

#include "events/kafka/group_view.h"
#include "events/kafka/membership.h"
#include "events/log.h"
#include "runtime/config/config.h"
#include "runtime/privacy/seal.h"
#include "runtime/privacy/topic_keys.h"

namespace soma::runtime {

class Cluster;
struct ClusterOptions;
class Metrics;

events::KafkaOptions kafka_options(const config::Config& config);

// Embedded log or Kafka. kConflict when the data folder's caches are of another journal: states and
// views of one must never be continued with another.
Result<std::unique_ptr<events::Log>> open_journal(const config::Config& config);

// The journal's topic on Kafka, made if it is missing, tied to no folder: for tools that fill it.
Result<std::unique_ptr<events::Log>> open_cluster_journal(const config::Config& config);

// Personal data of what is written from now on is sealed: with the data folder's keys, or, on
// Kafka, with those of the cluster's topic soma.keys, into which a vault goes that came with a
// moved journal. kInvalidArgument: another master key than the cluster's.
struct Sealing {
  std::shared_ptr<privacy::SubjectSealer> sealer;
  privacy::TopicKeys* cluster_keys = nullptr;  // the sealer's; null on the embedded log
};
Result<Sealing> seal_journal(const config::Config& config, const actors::Catalog& catalog,
                             events::Log& log);

// The cluster's keys; for tools `read_only`: kNotFound where there are none, or no master key here.
Result<std::unique_ptr<privacy::TopicKeys>> open_cluster_keys(const config::Config& config,
                                                              bool read_only);

// The journal's topic on Kafka for tools beside running nodes; appends are refused.
Result<std::unique_ptr<events::Log>> open_journal_readonly(const config::Config& config);

// What the settings say of this node's place among others.
ClusterOptions cluster_options(const config::Config& config, const std::string& node_id,
                               Metrics& metrics);

// Lets the cluster look at the group of nodes, and join it when it should. `group` is what it looks
// through; it and the settings outlive the cluster.
Status enter_group(const config::Config& config, Cluster& cluster,
                   std::unique_ptr<events::GroupViewer>& group);

}  // namespace soma::runtime
