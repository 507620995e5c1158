// What the entries of a frame mean for the tables. Pure: no database here.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "events/frames.h"

namespace soma::projections {

// Times are Unix milliseconds; positions "PARTITION/OFFSET". Texts are as Postgres takes them: a NUL character,
// which its text cannot hold, is U+FFFD (the log keeps the exact one).
struct SessionEventRow {
  std::string tenant, session_id, event_id, type, position, principal, causation_id, correlation_id;
  std::string data_json;        // body of the event's one case
  std::uint64_t sequence = 0;
  std::int64_t time_ms = 0;
};

// What a batch changes of one session's row; absent members stay.
struct SessionChange {
  std::optional<std::string> user, status, model, persona, capsule_id, error_code, error_message;
  std::optional<std::int64_t> created_ms, updated_ms, turns;
  std::string last_position;
  std::uint64_t last_sequence = 0;
};

struct DecisionRow {
  std::string tenant, decision_id, actor, action_id, capability;
  bool allow = false;
  double score = 0, threshold = 0;
  std::string reasons_json, reason_codes_json;   // arrays of strings
  std::string input_json;                        // soma.v1.PolicyInput
  std::string constitution_hash;
  std::uint64_t settings_version = 0;
  std::int64_t time_ms = 0;
  std::string position;
};

struct UsageRow {
  std::string tenant, call_id, actor, model, provider;
  std::int64_t prompt_tokens = 0, completion_tokens = 0;
  bool estimated = false;
  std::int64_t latency_ms = 0, time_ms = 0;
  std::string position;
};

// A tenant's settings as last set, and tokens spent in all.
struct TenantRow {
  std::string tenant, display_name, deployment_mode, default_model_profile, hash;
  std::int64_t budgets_tokens = 0;
  std::uint64_t version = 0;             // 0: defaults
  std::int64_t spent_tokens = 0, updated_ms = 0;
};
struct TenantChange {
  std::optional<TenantRow> settings;     // all but spent_tokens
  std::int64_t spent_tokens = 0;         // to add
  std::int64_t updated_ms = 0;
};

// All that a batch of frames of one partition changes.
struct Rows {
  using SessionKey = std::pair<std::string, std::string>;   // tenant, session
  std::vector<SessionEventRow> session_events;
  std::map<SessionKey, SessionChange> sessions;
  std::vector<DecisionRow> decisions;
  std::vector<UsageRow> usage;
  std::map<std::string, TenantChange> tenants;

  std::size_t count() const;
};

// Adds what one valid frame means. kCorrupt names position and event when an event cannot be decoded: rows that
// leave it out would be wrong, so nobody goes on behind it.
Status rows_of(const events::ValidFrame& frame, Rows& rows);

// For text and jsonb columns: NUL (also as JSON's escape) becomes U+FFFD.
std::string clean_text(std::string text);
std::string clean_json(std::string json);

}  // namespace soma::projections
