-- The views. Run with search_path at the schema to fill. A change here, or of kRowsVersion in
-- postgres/schema.cpp, makes every node fill a new schema beside the old one and switch to it.
-- json, not jsonb: it keeps the text, so that a row can be compared with what the log says.

-- NULL: no event has said it yet.
CREATE TABLE sessions (
  tenant_id text NOT NULL,
  session_id text NOT NULL,
  user_id text,
  status text,
  model text,
  created_ms bigint,
  updated_ms bigint NOT NULL,
  turns bigint,
  error_code text,
  error_message text,
  prompt_tokens bigint NOT NULL,
  completion_tokens bigint NOT NULL,
  PRIMARY KEY (tenant_id, session_id)
) WITH (fillfactor = 80);

CREATE TABLE session_events (
  tenant_id text NOT NULL,
  actor_type text NOT NULL,
  session_id text NOT NULL,
  sequence bigint NOT NULL,
  event_id text NOT NULL,
  type text NOT NULL,
  time_ms bigint NOT NULL,
  position text NOT NULL,
  principal text NOT NULL,
  correlation_id text NOT NULL,
  data json NOT NULL
);

CREATE TABLE decisions (
  tenant_id text NOT NULL,
  actor_type text NOT NULL,
  actor_id text NOT NULL,
  sequence bigint NOT NULL,
  decision_id text NOT NULL,
  action_id text NOT NULL,
  allow boolean NOT NULL,
  score double precision NOT NULL,
  threshold double precision NOT NULL,
  reasons json NOT NULL,
  time_ms bigint NOT NULL
);

CREATE TABLE usage (
  tenant_id text NOT NULL,
  actor_type text NOT NULL,
  actor_id text NOT NULL,
  sequence bigint NOT NULL,
  call_id text NOT NULL,
  model text NOT NULL,
  prompt_tokens bigint NOT NULL,
  completion_tokens bigint NOT NULL,
  time_ms bigint NOT NULL
);

-- Events that could not be shown as the tables above want them, and why.
CREATE TABLE rejected (
  tenant_id text NOT NULL,
  actor_type text NOT NULL,
  actor_id text NOT NULL,
  sequence bigint NOT NULL,
  event_id text NOT NULL,
  type text NOT NULL,
  position text NOT NULL,
  reason text NOT NULL
);

-- What was taken from each actor: rows of the four tables above, and the exclusive or of their
-- digests.
CREATE TABLE actor_digests (
  tenant_id text NOT NULL,
  actor_type text NOT NULL,
  actor_id text NOT NULL,
  rows bigint NOT NULL,
  last_sequence bigint NOT NULL,
  high bigint NOT NULL,
  low bigint NOT NULL,
  PRIMARY KEY (tenant_id, actor_type, actor_id)
) WITH (fillfactor = 80);

-- Up to where the rows are the fold of the log. last_* prove that it is still that log.
CREATE TABLE cursor (
  partition integer PRIMARY KEY,
  next_offset bigint NOT NULL,
  epoch bigint NOT NULL,
  number bigint NOT NULL,
  head bytea NOT NULL,
  last_offset bigint NOT NULL,
  last_hash bytea NOT NULL
);
