CREATE TABLE gateway_resource_bindings (
    zone_id text NOT NULL,
    resource_identifier text NOT NULL,
    application_id text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (zone_id, resource_identifier)
);
CREATE INDEX gateway_resource_bindings_zone ON gateway_resource_bindings (zone_id);
ALTER TABLE gateway_resource_bindings ENABLE ROW LEVEL SECURITY;
CREATE POLICY zone_isolation ON gateway_resource_bindings
    USING (current_setting('caracal.zone_id', true) IN ('*', zone_id));

-- A single row.
CREATE TABLE gateway_binding_revision (
    id boolean PRIMARY KEY DEFAULT true CHECK (id),
    version bigint NOT NULL DEFAULT 0,
    updated_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO gateway_binding_revision (version) VALUES (1);
