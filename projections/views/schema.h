// The tables, and the statements that fill them.
#pragma once

namespace soma::projections {

inline constexpr char kSchema[] = R"sql(
CREATE TABLE IF NOT EXISTS projection_cursor (
  partition integer PRIMARY KEY, next_offset bigint NOT NULL, epoch bigint NOT NULL, number bigint NOT NULL, head bytea NOT NULL);
CREATE TABLE IF NOT EXISTS sessions (
  tenant_id text NOT NULL, session_id text NOT NULL, user_id text NOT NULL DEFAULT '', status text NOT NULL DEFAULT 'accepted',
  model text NOT NULL DEFAULT '', created_ms bigint NOT NULL DEFAULT 0, updated_ms bigint NOT NULL DEFAULT 0,
  turns bigint NOT NULL DEFAULT 0, PRIMARY KEY (tenant_id, session_id));
CREATE INDEX IF NOT EXISTS sessions_by_time ON sessions (tenant_id, created_ms DESC, session_id DESC);
CREATE TABLE IF NOT EXISTS session_events (
  tenant_id text NOT NULL, session_id text NOT NULL, sequence bigint NOT NULL, event_id text NOT NULL, type text NOT NULL,
  time_ms bigint NOT NULL, position text NOT NULL, principal text NOT NULL, correlation_id text NOT NULL, data jsonb NOT NULL,
  PRIMARY KEY (tenant_id, session_id, sequence));
CREATE TABLE IF NOT EXISTS decisions (
  tenant_id text NOT NULL, decision_id text NOT NULL, actor text NOT NULL, action_id text NOT NULL, allow boolean NOT NULL,
  score double precision NOT NULL, threshold double precision NOT NULL, reasons jsonb NOT NULL, time_ms bigint NOT NULL,
  PRIMARY KEY (tenant_id, decision_id));
CREATE TABLE IF NOT EXISTS usage (
  tenant_id text NOT NULL, call_id text NOT NULL, actor text NOT NULL, model text NOT NULL, prompt_tokens bigint NOT NULL,
  completion_tokens bigint NOT NULL, time_ms bigint NOT NULL, PRIMARY KEY (tenant_id, call_id));
)sql";

inline constexpr const char* kTables[] = {"sessions", "session_events", "decisions", "usage"};

}  // namespace soma::projections
