// One line for each area.
#include "runtime/node/routes.h"

#include <boost/json/serialize.hpp>

#include "runtime/audit/keeper.h"
#include "runtime/cluster/cluster.h"
#include "runtime/query/route.h"

namespace soma::runtime {

void give_settings(api::Node& n, const config::Config& c) {
  n.single_writer = c.kafka_brokers.empty();
  n.topic_prefix = c.kafka_topic_prefix;
  n.trusted_producers = c.kafka_trusted_producers;
  n.mode_two_keys = c.mode_two_keys;
  n.signs_heads = c.audit_head_interval_s > 0;
  n.position_wait_ms = static_cast<std::int64_t>(c.position_wait_ms);
  n.model_wait_ms = static_cast<std::int64_t>(c.slm_wait_ms);
}

std::vector<api::StandbyRow> standby_rows(const Cluster& cluster) {
  std::vector<api::StandbyRow> rows;
  for (const auto& s : cluster.standbys()) rows.push_back({s.partition, s.node_id, s.lag, s.here});
  return rows;
}

std::vector<std::string> kept_heads(const std::string& data_dir, const std::string& tenant) {
  std::vector<std::string> lines;
  for (const auto& head : audit::HeadFile(data_dir).of(tenant))
    lines.push_back(boost::json::serialize(head));
  return lines;
}

void register_routes(http::Router& router, api::Node& n) {
  api::register_sessions(router, n);
  api::register_session_tools(router, n);
  api::register_session_transfer(router, n);
  api::register_inference(router, n);
  api::register_memories(router, n);
  api::register_governance(router, n);
  api::register_audit(router, n);
  api::register_audit_proofs(router, n);
  api::register_erasures(router, n);
  api::register_tokens(router, n);
  api::register_kill_switch(router, n);
  api::register_actors(router, n);
  api::register_journal(router, n);
  query::register_sql(router, n);
  api::register_operations(router, n);
  api::register_constitution(router, n);
  api::register_rules(router, n);
  api::register_approvals(router, n);
  api::register_admin(router, n);
  api::register_bench(router, n);
}

}  // namespace soma::runtime
