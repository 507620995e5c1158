-- Made after a rebuild has filled the tables: half the time of keeping them row by row.

ALTER TABLE session_events ADD PRIMARY KEY (tenant_id, session_id, sequence);
ALTER TABLE decisions ADD PRIMARY KEY (tenant_id, actor_type, actor_id, sequence);
CREATE INDEX decisions_by_id ON decisions (tenant_id, decision_id);
ALTER TABLE usage ADD PRIMARY KEY (tenant_id, actor_type, actor_id, sequence);
CREATE INDEX usage_by_time ON usage (tenant_id, time_ms);
ALTER TABLE rejected ADD PRIMARY KEY (tenant_id, actor_type, actor_id, sequence);
CREATE INDEX sessions_by_time ON sessions (tenant_id, created_ms DESC, session_id DESC);
CREATE INDEX sessions_by_status
  ON sessions (tenant_id, status, created_ms DESC, session_id DESC);
