// The journal of a node: which engine the settings ask for, and that the data folder belongs to it.
#pragma once

#include <memory>

#include "events/kafka/group_view.h"
#include "events/kafka/membership.h"
#include "events/log.h"
#include "runtime/config/config.h"
#include "runtime/privacy/seal.h"

namespace soma::runtime {

events::KafkaOptions kafka_options(const config::Config& config);

// Embedded log or Kafka. kConflict when the data folder's caches are of another journal: states and
// views of one must never be continued with another.
Result<std::unique_ptr<events::Log>> open_journal(const config::Config& config);

// The journal's topic on Kafka, made if it is missing, tied to no folder: for tools that fill it.
Result<std::unique_ptr<events::Log>> open_cluster_journal(const config::Config& config);

// Personal data of what is written from now on is sealed with the data folder's keys. Null on
// Kafka: there a key would have to be destroyed on every node, so nothing is sealed; what was
// sealed before the journal was moved there is opened with the folder's vault.
Result<std::shared_ptr<privacy::VaultSealer>> seal_journal(const config::Config& config,
                                                           const actors::Catalog& catalog,
                                                           bool clustered, events::Log& log);

// The journal's topic on Kafka for tools beside running nodes; appends are refused.
Result<std::unique_ptr<events::Log>> open_journal_readonly(const config::Config& config);

// Takes part in choosing the node that serves; `on_change` as in events/kafka/membership.h.
Result<std::unique_ptr<events::Membership>> join_cluster(const config::Config& config,
                                                         const std::string& node_id,
                                                         events::Membership::OnChange on_change);

// For looking at the group of nodes from outside.
Result<std::unique_ptr<events::GroupViewer>> view_cluster(const config::Config& config);

}  // namespace soma::runtime
