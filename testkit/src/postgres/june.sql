CREATE TABLE sessions (
    id text PRIMARY KEY,
    zone_id text NOT NULL,
    session_type text NOT NULL CHECK (session_type IN ('user', 'application')),
    subject_id text,
    parent_id text,
    status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'revoked', 'expired')),
    expires_at timestamptz NOT NULL,
    authenticated_at timestamptz NOT NULL DEFAULT now(),
    claims_json jsonb,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE agent_sessions (
    id text PRIMARY KEY,
    zone_id text NOT NULL,
    application_id text NOT NULL,
    parent_id text,
    subject_session_id text NOT NULL,
    status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'suspended', 'terminated', 'expired')),
    depth integer NOT NULL DEFAULT 0,
    labels text[] NOT NULL DEFAULT '{}',
    max_children integer,
    child_count integer NOT NULL DEFAULT 0,
    spawned_at timestamptz NOT NULL DEFAULT now(),
    last_active_at timestamptz NOT NULL DEFAULT now(),
    terminated_at timestamptz,
    ttl_seconds integer,
    metadata_json jsonb,
    updated_at timestamptz NOT NULL DEFAULT now(),
    lifecycle text NOT NULL DEFAULT 'task' CHECK (lifecycle IN ('task', 'service')),
    last_heartbeat_at timestamptz,
    heartbeat_deadline_at timestamptz,
    idempotency_key text
);
ALTER TABLE sessions ENABLE ROW LEVEL SECURITY;
ALTER TABLE agent_sessions ENABLE ROW LEVEL SECURITY;
CREATE POLICY zone_isolation ON sessions USING (current_setting('caracal.zone_id', true) IN ('*', zone_id));
CREATE POLICY zone_isolation ON agent_sessions USING (current_setting('caracal.zone_id', true) IN ('*', zone_id));
