ALTER TABLE resources
    ADD COLUMN operations jsonb NOT NULL DEFAULT '[]',
    ADD COLUMN operation_enforcement text NOT NULL DEFAULT 'transport_uniform'
        CHECK (operation_enforcement IN ('enforced', 'transport_uniform'));
CREATE TABLE authority_records (
    id text PRIMARY KEY,
    zone_id text NOT NULL,
    session_type text NOT NULL CHECK (session_type IN ('user', 'application')),
    subject_id text,
    parent_id text,
    status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'revoked', 'expired')),
    expires_at timestamptz NOT NULL,
    authenticated_at timestamptz NOT NULL DEFAULT now(),
    claims_json jsonb,
    created_at timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz,
    revoked_reason text
);
CREATE TABLE sessions (
    id text PRIMARY KEY,
    zone_id text NOT NULL,
    application_id text NOT NULL,
    parent_id text,
    subject_authority_record_id text NOT NULL,
    status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'suspended', 'terminated', 'expired')),
    depth integer NOT NULL DEFAULT 0,
    labels text[] NOT NULL DEFAULT '{}',
    max_children integer,
    child_count integer NOT NULL DEFAULT 0,
    started_at timestamptz NOT NULL DEFAULT now(),
    last_active_at timestamptz NOT NULL DEFAULT now(),
    terminated_at timestamptz,
    ttl_seconds integer,
    metadata_json jsonb,
    updated_at timestamptz NOT NULL DEFAULT now(),
    lifecycle text NOT NULL DEFAULT 'task' CHECK (lifecycle IN ('task', 'service')),
    last_heartbeat_at timestamptz,
    heartbeat_deadline_at timestamptz,
    termination_reason text,
    lease_generation bigint NOT NULL DEFAULT 0,
    CHECK ((status IN ('terminated', 'expired')) = (terminated_at IS NOT NULL)),
    CHECK (lifecycle = 'service' OR ttl_seconds IS NOT NULL)
);
ALTER TABLE authority_records ENABLE ROW LEVEL SECURITY;
ALTER TABLE sessions ENABLE ROW LEVEL SECURITY;
CREATE POLICY zone_isolation ON authority_records USING (current_setting('caracal.zone_id', true) IN ('*', zone_id));
CREATE POLICY zone_isolation ON sessions USING (current_setting('caracal.zone_id', true) IN ('*', zone_id));
