// What one entry of a frame means for the tables. Pure: no database here.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "events/frames.h"

namespace soma::projections {

struct SessionEventRow {
  std::string tenant, session_id, event_id, type, position, principal, correlation_id, data_json;
  std::uint64_t sequence = 0;
  std::int64_t time_ms = 0;
};
// What an event changes of its session's row; absent members stay.
struct SessionChange {
  std::string tenant, session_id;
  std::optional<std::string> user, status, model;
  std::optional<std::int64_t> created_ms, turns;
  std::int64_t updated_ms = 0;
};
struct DecisionRow {
  std::string tenant, decision_id, actor, action_id, reasons_json;
  bool allow = false;
  double score = 0, threshold = 0;
  std::int64_t time_ms = 0;
};
struct UsageRow {
  std::string tenant, call_id, actor, model;
  std::int64_t prompt_tokens = 0, completion_tokens = 0, time_ms = 0;
};
struct Rows {
  std::vector<SessionEventRow> session_events;
  std::vector<SessionChange> sessions;
  std::vector<DecisionRow> decisions;
  std::vector<UsageRow> usage;
};

void rows_of(const events::ValidFrame& frame, Rows& rows);

}  // namespace soma::projections
