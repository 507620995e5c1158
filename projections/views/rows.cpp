// From recorded events to rows.
#include "projections/views/rows.h"

#include <boost/json/serialize.hpp>

#include "schemas/json/json_view.h"
#include "soma/v1/inference.pb.h"
#include "soma/v1/session.pb.h"

namespace soma::projections {

namespace {

// Postgres' jsonb holds no NUL; the log keeps the exact text.
std::string without_nul(std::string json) {
  for (auto at = json.find("\\u0000"); at != std::string::npos; at = json.find("\\u0000", at))
    json.replace(at, 6, "\\ufffd");
  return json;
}

DecisionRow decision_row(const v1::Entry& entry, const v1::PolicyDecision& d) {
  DecisionRow row{entry.actor().tenant(),
                  d.decision_id(),
                  entry.actor().type() + "/" + entry.actor().id(),
                  d.input().action_id(),
                  "[",
                  d.allow(),
                  d.score(),
                  d.threshold(),
                  entry.context().now_ms()};
  for (const auto& reason : d.reasons())
    row.reasons_json += (row.reasons_json.size() > 1 ? ",\"" : "\"") + reason + "\"";
  row.reasons_json += "]";
  return row;
}

UsageRow usage_row(const v1::Entry& entry, const v1::ModelAnswer& a) {
  return {entry.actor().tenant(),
          a.call_id(),
          entry.actor().type() + "/" + entry.actor().id(),
          a.model(),
          static_cast<std::int64_t>(a.usage().prompt_tokens()),
          static_cast<std::int64_t>(a.usage().completion_tokens()),
          entry.context().now_ms()};
}

void session_change(const v1::Entry& entry, const v1::SessionEvent& e, Rows& rows) {
  SessionChange c{entry.actor().tenant(),  entry.actor().id(), {}, {}, {}, {}, {},
                  entry.context().now_ms()};
  if (e.has_session_started()) {
    c.user = e.session_started().user();
    c.model = e.session_started().model();
    c.created_ms = e.session_started().at_ms();
    c.status = "accepted";
  } else if (e.has_turn_started()) {
    c.turns = e.turn_started().turn();
    c.status = "running";
  } else if (e.has_session_completed()) {
    c.status = "completed";
  } else if (e.has_session_failed()) {
    c.status = "failed";
  } else if (e.has_session_cancelled()) {
    c.status = "cancelled";
  }
  rows.sessions.push_back(std::move(c));
}

void session_rows(const events::ValidFrame& valid, const v1::Entry& entry,
                  const v1::RecordedEvent& recorded, Rows& rows) {
  v1::SessionEvent e;
  if (!e.ParseFromString(recorded.payload())) return;
  rows.session_events.push_back(
      {entry.actor().tenant(), entry.actor().id(), recorded.event_id(), recorded.type(),
       to_string(valid.position), entry.context().principal().subject(),
       entry.context().correlation_id(), without_nul(boost::json::serialize(json_of(e))),
       recorded.sequence(), entry.context().now_ms()});
  session_change(entry, e, rows);
  if (e.has_policy_decided())
    rows.decisions.push_back(decision_row(entry, e.policy_decided().decision()));
  if (e.has_model_answered()) rows.usage.push_back(usage_row(entry, e.model_answered().answer()));
}

}  // namespace

void rows_of(const events::ValidFrame& valid, Rows& rows) {
  for (const auto& entry : valid.frame->entries())
    for (const auto& recorded : entry.events()) {
      if (entry.actor().type() == "session") session_rows(valid, entry, recorded, rows);
      if (entry.actor().type() != "inference") continue;
      v1::InferenceEvent e;
      if (!e.ParseFromString(recorded.payload())) continue;
      if (e.has_inference_started())
        rows.decisions.push_back(decision_row(entry, e.inference_started().decision()));
      if (e.has_inference_answered())
        rows.usage.push_back(usage_row(entry, e.inference_answered().answer()));
    }
}

}  // namespace soma::projections
