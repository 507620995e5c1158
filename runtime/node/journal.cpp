// Opens the engine and ties the data folder to its journal.
#include "runtime/node/journal.h"

#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>

#include "events/embedded/embedded_log.h"
#include "events/kafka/assignment.h"
#include "events/kafka/kafka_log.h"
#include "runtime/cluster/cluster.h"
#include "runtime/node/node_id.h"
#include "runtime/privacy/vault.h"
#include "runtime/telemetry/log.h"

namespace soma::runtime {

namespace fs = std::filesystem;
using config::Config;

events::KafkaOptions kafka_options(const Config& c) {
  events::KafkaOptions o;
  o.brokers = c.kafka_brokers;
  o.topic_prefix = c.kafka_topic_prefix;
  o.client_id = c.node_id.empty() ? "soma" : events::kafka::client_of_node(c.node_id);
  o.partition_count = c.partition_count;
  o.min_replication = c.mode.starts_with("production") ? 3 : 1;
  o.manage_topics = c.kafka_manage_topics;
  o.compression = c.kafka_compression;
  o.producers = c.kafka_producers;
  o.append_timeout_ms = static_cast<std::int64_t>(c.kafka_append_timeout_ms);
  o.client = c.kafka_client;
  o.on_log = [](int severity, const std::string& line) {
    severity <= 4 ? log_warn("kafka", {{"line", line}}) : log_debug("kafka", {{"line", line}});
  };
  return o;
}

namespace {

// Snapshots, cursors and indexes under the folder are of one journal. Its name is kept beside them.
Status tie_folder(const std::string& data_dir, const std::string& journal) {
  const fs::path file = fs::path(data_dir) / "journal";
  std::ifstream in(file);
  const std::string known{std::istreambuf_iterator<char>(in), {}};
  if (known == journal + "\n") return {};
  const bool used = !known.empty() || fs::exists(fs::path(data_dir) / "snapshots");
  // Folders older than this file are of the embedded log.
  const std::string before = known.empty() ? "embedded\n" : known;
  if (used && before != journal + "\n")
    return fail(Code::kConflict,
                "the data folder " + data_dir + " belongs to the journal " +
                    before.substr(0, before.size() - 1) + ", not to " + journal +
                    "; name another one with --data-dir",
                "data_dir");
  return write_atomically(file, journal + "\n");
}

}  // namespace

Result<std::unique_ptr<events::Log>> open_journal(const Config& c) {
  if (c.kafka_brokers.empty()) {
    if (auto ok = tie_folder(c.data_dir, "embedded"); !ok) return tl::unexpected(ok.error());
    events::EmbeddedOptions o;
    o.folder = (fs::path(c.data_dir) / "log").string();
    o.partition_count = c.partition_count;
    o.segment_bytes = c.segment_bytes;
    o.read_at_open_bytes = c.read_at_open_bytes;
    return events::open_embedded_log(std::move(o));
  }
  auto log = events::open_kafka_log(kafka_options(c));
  if (!log) return tl::unexpected(log.error());
  if (auto ok = tie_folder(c.data_dir, (*log)->identity()); !ok) return tl::unexpected(ok.error());
  return std::unique_ptr<events::Log>(std::move(*log));
}

ClusterOptions cluster_options(const Config& c, const std::string& node_id, Metrics& metrics) {
  return {.node_id = node_id,
          .listen = c.cluster_listen,
          .advertise = c.cluster_advertise,
          .secret = c.cluster_secret,
          .session_timeout_ms = static_cast<std::int64_t>(c.kafka_session_timeout_ms),
          .answer_ms = static_cast<std::int64_t>(c.kafka_append_timeout_ms) + 1000,
          .tls = {c.cluster_tls_ca_file, c.cluster_tls_cert_file, c.cluster_tls_key_file},
          .standbys = c.cluster_standbys,
          .acceptable_lag = c.cluster_acceptable_lag,
          .metrics = &metrics};
}

Status enter_group(const Config& c, Cluster& cluster, std::unique_ptr<events::GroupViewer>& group) {
  auto id = node_id_of(c);
  if (!id) return tl::unexpected(id.error());
  auto viewer = events::view_nodes(kafka_options(c));
  if (!viewer) return tl::unexpected(viewer.error());
  group = std::move(*viewer);
  events::MembershipOptions o;
  o.node_id = *id;
  o.session_timeout_ms = static_cast<std::int64_t>(c.kafka_session_timeout_ms);
  o.release_timeout_ms = static_cast<std::int64_t>(c.drain_timeout_ms);
  return cluster.join(
      [&c, o](events::Membership::OnChange on_change) {
        return events::join_nodes(kafka_options(c), o, std::move(on_change));
      },
      [viewer = group.get()] { return viewer->look(); });
}

Result<std::unique_ptr<events::Log>> open_cluster_journal(const Config& c) {
  auto log = events::open_kafka_log(kafka_options(c));
  if (!log) return tl::unexpected(log.error());
  return std::unique_ptr<events::Log>(std::move(*log));
}

Result<std::unique_ptr<privacy::TopicKeys>> open_cluster_keys(const Config& c, bool read_only) {
  const auto open = [&](events::KeyedTopic::Take take) {
    return events::open_keyed_topic(kafka_options(c), privacy::keys_topic(c.kafka_topic_prefix),
                                    !read_only, std::move(take));
  };
  return privacy::TopicKeys::open(open, c.data_dir, c.privacy_master_key, read_only);
}

namespace {

// A vault in the folder came with a journal that was moved to the cluster. Once its keys are in the
// topic they are nowhere else, so that they can be destroyed there.
Status take_vault(const Config& c, privacy::TopicKeys& keys) {
  auto vault = privacy::Vault::open(c.data_dir, c.privacy_master_key, true);
  if (!vault)
    return vault.error().code == Code::kNotFound ? Status{} : tl::unexpected(vault.error());
  auto slots = (*vault)->slots();
  if (!slots) return tl::unexpected(slots.error());
  if (auto ok = keys.adopt(*slots); !ok) return ok;
  log_info("the folder's keys of personal data are the cluster's now", {{"keys", slots->size()}});
  return (*vault)->remove();
}

}  // namespace

Result<Sealing> seal_journal(const Config& c, const actors::Catalog& catalog, events::Log& log) {
  Sealing out;
  if (c.kafka_brokers.empty()) {
    auto sealer = privacy::open_sealer(catalog, c.data_dir, c.privacy_master_key, false);
    if (!sealer) return tl::unexpected(sealer.error());
    out.sealer = std::move(*sealer);
  } else {
    auto keys = open_cluster_keys(c, false);
    if (!keys) return tl::unexpected(keys.error());
    if (auto ok = take_vault(c, **keys); !ok) return tl::unexpected(ok.error());
    out.cluster_keys = keys->get();
    out.sealer = std::make_shared<privacy::SubjectSealer>(catalog, std::move(*keys));
  }
  log.seal_with(out.sealer);
  return out;
}

Result<std::unique_ptr<events::Log>> open_journal_readonly(const Config& c) {
  auto log = events::open_kafka_log_readonly(kafka_options(c));
  if (!log) return tl::unexpected(log.error());
  return std::unique_ptr<events::Log>(std::move(*log));
}

}  // namespace soma::runtime
