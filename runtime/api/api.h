// What the routes need of the node, and the functions that register them.
#pragma once

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "actors/actor_type.h"
#include "runtime/api/frame_hub.h"
#include "runtime/effects/runner.h"
#include "runtime/host/deadlines.h"
#include "runtime/host/host.h"
#include "runtime/host/worker.h"
#include "runtime/http/router.h"
#include "runtime/memory/memory_index.h"
#include "runtime/telemetry/metrics.h"
#include "runtime/verify/journal.h"

namespace soma::events {
class Log;
}
namespace soma::projections {
class Projections;
}

namespace soma::runtime::security {
class Authenticator;
class Tickets;
}  // namespace soma::runtime::security

namespace soma::runtime::audit {
class Keeper;
}
namespace soma::runtime::erasure {
class Erasures;
}

namespace soma::runtime::api {

class KillSwitch;
class Constitutions;
class Rulebook;
class Admission;
class Deployment;
class CommandLookUps;

// A node that keeps itself warm for another's partition.
struct StandbyRow {
  PartitionId partition;
  std::string node;
  std::uint64_t lag = 0;  // records
  bool here = false;      // this node
};

// All outlive the server. Immutable after the node is composed.
struct Node {
  Host* host = nullptr;
  const actors::Catalog* catalog = nullptr;
  Clock* clock = nullptr;
  Deadlines* deadlines = nullptr;
  FrameHub* frames = nullptr;
  TokenHub* tokens = nullptr;
  SlmClient* slm = nullptr;
  SlmClient::Resolve chat_endpoint;
  SlmClient::Resolve embedding_endpoint;
  MemoryIndex* memory = nullptr;
  Constitutions* constitutions = nullptr;
  Rulebook* rulebook = nullptr;
  projections::Projections* projections = nullptr;  // null: none configured
  Metrics* metrics = nullptr;
  Worker* worker = nullptr;  // for what blocks
  Worker* slow = nullptr;    // for what reads much
  CommandLookUps* look_ups = nullptr;
  Journal* journal = nullptr;
  StateStore* store = nullptr;
  bool single_writer = true;                          // the log is the embedded one
  std::function<std::vector<StandbyRow>()> standbys;  // none: on one machine
  Worker* patient = nullptr;                          // for what takes minutes
  const Deployment* deployment = nullptr;
  std::string chat_provider;  // what chat calls go to, for people; empty: nothing
  std::string topic_prefix;   // before the names of topics
  std::int64_t position_wait_ms = 2000;
  std::int64_t model_wait_ms = 120'000;  // of a caller for a model; then 504
  const events::Log* log = nullptr;
  std::uint32_t partition_count = 0;
  security::Authenticator* authenticator = nullptr;
  Admission* admission = nullptr;
  security::Tickets* tickets = nullptr;
  const KillSwitch* kill_switch = nullptr;
  audit::Keeper* audit = nullptr;
  erasure::Erasures* erasures = nullptr;
  // As configured, for the guardrails of modes.
  bool trusted_producers = false;     // records of topics are taken without a token
  bool mode_two_keys = false;         // leaving a production mode waits for a second person
  bool signs_heads = false;           // of the audit, by itself
  std::function<std::string()> jwks;  // public keys, for others to verify our tokens
};

void register_sessions(http::Router& router, const Node& node);
void register_session_tools(http::Router& router, const Node& node);
void register_session_transfer(http::Router& router, const Node& node);
void register_inference(http::Router& router, const Node& node);
void register_audit(http::Router& router, const Node& node);
void register_audit_proofs(http::Router& router, const Node& node);
void register_erasures(http::Router& router, const Node& node);
void register_chat(http::Router& router, const Node& node);
void register_memories(http::Router& router, const Node& node);
// With settings, preferences, users, mode, training locks and speech.
void register_governance(http::Router& router, const Node& node);
void register_tokens(http::Router& router, const Node& node);
void register_deployment(http::Router& router, const Node& node);
void register_training(http::Router& router, const Node& node);
void register_tenant_settings(http::Router& router, const Node& node);
void register_preferences(http::Router& router, const Node& node);
void register_speech(http::Router& router, const Node& node);
void register_users(http::Router& router, const Node& node);
void register_services(http::Router& router, const Node& node);
void register_kill_switch(http::Router& router, const Node& node);
void register_actors(http::Router& router, const Node& node);
void register_journal(http::Router& router, const Node& node);
void register_operations(http::Router& router, const Node& node);
void register_rules(http::Router& router, const Node& node);
void register_constitution(http::Router& router, const Node& node);
void register_approvals(http::Router& router, const Node& node);
void register_metrics(http::Router& router, const Node& node);  // /metrics, by itself
void register_admin(http::Router& router, const Node& node);
void register_bench(http::Router& router, const Node& node);  // nothing but in developer modes

// Shared with tools that read a folder.
boost::json::object actor_types(const actors::Catalog& catalog);
// Without `standbys` they are null: only nodes know them.
boost::json::array journal_partitions(const std::vector<Journal::Summary>& summaries,
                                      const std::vector<StandbyRow>* standbys = nullptr);
boost::json::object snapshot_view(const actors::Catalog& catalog, PartitionId partition,
                                  const ActorKey& key,
                                  const std::optional<StateStore::Snapshot>& snapshot);
// The decision as it was recorded, with where and by whom. kNotFound; `tenant` null: any.
Result<boost::json::object> explain_decision(Journal& journal, const actors::Catalog& catalog,
                                             const std::string* tenant, const std::string& id);

}  // namespace soma::runtime::api
