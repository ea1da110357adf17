-- What every layout has.
CREATE TABLE zones (
    id text PRIMARY KEY,
    name text NOT NULL
);
CREATE TABLE applications (
    id text PRIMARY KEY,
    zone_id text NOT NULL REFERENCES zones (id),
    name text NOT NULL
);
CREATE TABLE providers (
    id text PRIMARY KEY,
    zone_id text NOT NULL REFERENCES zones (id),
    name text NOT NULL
);
CREATE TABLE resources (
    id text PRIMARY KEY,
    zone_id text NOT NULL REFERENCES zones (id),
    name text NOT NULL,
    identifier text NOT NULL,
    upstream_url text,
    credential_provider_id text NOT NULL,
    scopes text[] NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    archived_at timestamptz,
    UNIQUE (zone_id, id)
);
CREATE UNIQUE INDEX resources_live ON resources (zone_id, identifier) WHERE archived_at IS NULL;
CREATE TABLE delegation_edges (
    id text PRIMARY KEY,
    zone_id text NOT NULL,
    source_session_id text NOT NULL,
    target_session_id text NOT NULL,
    issuer_application_id text NOT NULL,
    receiver_application_id text NOT NULL,
    resource_id text,
    scopes text[] NOT NULL DEFAULT '{}',
    constraints_json jsonb NOT NULL DEFAULT '{}',
    status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'revoked', 'expired')),
    expires_at timestamptz NOT NULL,
    edge_version integer NOT NULL DEFAULT 1,
    revoked_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    parent_edge_id text,
    CHECK (source_session_id <> target_session_id),
    CHECK ((status = 'revoked') = (revoked_at IS NOT NULL))
);

-- A row is visible for its own zone, or for all when the setting is '*'; unset shows nothing and says nothing.
ALTER TABLE applications ENABLE ROW LEVEL SECURITY;
ALTER TABLE providers ENABLE ROW LEVEL SECURITY;
ALTER TABLE resources ENABLE ROW LEVEL SECURITY;
ALTER TABLE delegation_edges ENABLE ROW LEVEL SECURITY;
CREATE POLICY zone_isolation ON applications USING (current_setting('caracal.zone_id', true) IN ('*', zone_id));
CREATE POLICY zone_isolation ON providers USING (current_setting('caracal.zone_id', true) IN ('*', zone_id));
CREATE POLICY zone_isolation ON resources USING (current_setting('caracal.zone_id', true) IN ('*', zone_id));
CREATE POLICY zone_isolation ON delegation_edges USING (current_setting('caracal.zone_id', true) IN ('*', zone_id));
