-- The database of a stand-alone gateway. Names and columns are those of a Caracal stack; each query of the gateway's has
-- an index. Every statement may run again.
CREATE TABLE IF NOT EXISTS public.gateway_schema (
    -- A single row. Who finds it knows that no stack owns these tables.
    id boolean PRIMARY KEY DEFAULT true CHECK (id),
    version integer NOT NULL,
    migrated_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO public.gateway_schema (version) VALUES (1)
    ON CONFLICT (id) DO UPDATE SET version = EXCLUDED.version, migrated_at = now();

CREATE TABLE IF NOT EXISTS public.zones (
    id text PRIMARY KEY,
    name text NOT NULL
);
CREATE TABLE IF NOT EXISTS public.resources (
    id text PRIMARY KEY,
    zone_id text NOT NULL REFERENCES public.zones (id),
    name text NOT NULL,
    identifier text NOT NULL,
    upstream_url text,
    credential_provider_id text NOT NULL,
    scopes text[] NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    archived_at timestamptz,
    operations jsonb NOT NULL DEFAULT '[]',
    operation_enforcement text NOT NULL DEFAULT 'transport_uniform'
        CHECK (operation_enforcement IN ('enforced', 'transport_uniform')),
    UNIQUE (zone_id, id)
);
CREATE UNIQUE INDEX IF NOT EXISTS resources_live ON public.resources (zone_id, identifier) WHERE archived_at IS NULL;
CREATE TABLE IF NOT EXISTS public.gateway_resource_bindings (
    zone_id text NOT NULL,
    resource_identifier text NOT NULL,
    application_id text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (zone_id, resource_identifier)
);
CREATE TABLE IF NOT EXISTS public.gateway_binding_revision (
    -- A single row.
    id boolean PRIMARY KEY DEFAULT true CHECK (id),
    version bigint NOT NULL DEFAULT 0,
    updated_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO public.gateway_binding_revision (version) VALUES (1) ON CONFLICT DO NOTHING;

CREATE TABLE IF NOT EXISTS public.authority_records (
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
CREATE INDEX IF NOT EXISTS authority_records_revoked ON public.authority_records (expires_at) WHERE status = 'revoked';
CREATE TABLE IF NOT EXISTS public.sessions (
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
CREATE INDEX IF NOT EXISTS sessions_ended ON public.sessions (updated_at)
    WHERE status IN ('suspended', 'terminated', 'expired');
CREATE TABLE IF NOT EXISTS public.delegation_edges (
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
CREATE INDEX IF NOT EXISTS delegation_edges_revoked ON public.delegation_edges (revoked_at) WHERE status = 'revoked';

-- A row is visible for its own zone, or for all when the setting is '*'; unset shows nothing.
DO $$
DECLARE
    of_zones text;
BEGIN
    FOREACH of_zones IN ARRAY ARRAY['resources', 'gateway_resource_bindings', 'authority_records', 'sessions',
                                    'delegation_edges']
    LOOP
        EXECUTE format('ALTER TABLE public.%I ENABLE ROW LEVEL SECURITY', of_zones);
        IF NOT EXISTS (SELECT 1 FROM pg_policy
                       WHERE polrelid = format('public.%I', of_zones)::regclass AND polname = 'zone_isolation') THEN
            EXECUTE format('CREATE POLICY zone_isolation ON public.%I '
                           'USING (current_setting(''caracal.zone_id'', true) IN (''*'', zone_id))', of_zones);
        END IF;
    END LOOP;
END $$;

-- Every statement that changes rows makes one revision and tells of it, with the rows unless they are too many.
CREATE OR REPLACE FUNCTION public.gateway_bindings_changed() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog AS $$
DECLARE
    after_it text := format('SELECT zone_id, %I AS resource FROM new_rows', TG_ARGV[0]);
    before_it text := format('SELECT zone_id, %I AS resource FROM old_rows', TG_ARGV[0]);
    found_rows bigint;
    found_keys json;
    made bigint;
    told text;
BEGIN
    IF TG_OP <> 'TRUNCATE' THEN
        -- One more than are told of, so that too many are noticed.
        EXECUTE format('SELECT count(*), json_agg(json_build_array(zone_id, resource)) FROM (%s LIMIT 65) changed',
            CASE TG_OP WHEN 'INSERT' THEN after_it WHEN 'DELETE' THEN before_it
                       ELSE before_it || ' UNION ' || after_it END)
            INTO found_rows, found_keys;
        IF found_rows = 0 THEN
            RETURN NULL;
        END IF;
    END IF;
    -- Whoever changes bindings waits here for the one before, so that revisions are told in their order.
    UPDATE public.gateway_binding_revision SET version = version + 1, updated_at = now() WHERE id
        RETURNING version INTO made;
    told := json_build_object('revision', made, 'changed', found_keys);
    -- The longest that a notification may be.
    IF TG_OP = 'TRUNCATE' OR found_rows > 64 OR octet_length(told) >= 8000 THEN
        told := json_build_object('revision', made);
    END IF;
    PERFORM pg_notify('caracal_gateway_bindings', told);
    RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER gateway_bindings_changed_insert AFTER INSERT ON public.resources
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION public.gateway_bindings_changed('identifier');
CREATE OR REPLACE TRIGGER gateway_bindings_changed_update AFTER UPDATE ON public.resources
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION public.gateway_bindings_changed('identifier');
CREATE OR REPLACE TRIGGER gateway_bindings_changed_delete AFTER DELETE ON public.resources
    REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION public.gateway_bindings_changed('identifier');
CREATE OR REPLACE TRIGGER gateway_bindings_changed_truncate AFTER TRUNCATE ON public.resources
    FOR EACH STATEMENT EXECUTE FUNCTION public.gateway_bindings_changed('identifier');
CREATE OR REPLACE TRIGGER gateway_bindings_changed_insert AFTER INSERT ON public.gateway_resource_bindings
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION public.gateway_bindings_changed('resource_identifier');
CREATE OR REPLACE TRIGGER gateway_bindings_changed_update AFTER UPDATE ON public.gateway_resource_bindings
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION public.gateway_bindings_changed('resource_identifier');
CREATE OR REPLACE TRIGGER gateway_bindings_changed_delete AFTER DELETE ON public.gateway_resource_bindings
    REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION public.gateway_bindings_changed('resource_identifier');
CREATE OR REPLACE TRIGGER gateway_bindings_changed_truncate AFTER TRUNCATE ON public.gateway_resource_bindings
    FOR EACH STATEMENT EXECUTE FUNCTION public.gateway_bindings_changed('resource_identifier');
