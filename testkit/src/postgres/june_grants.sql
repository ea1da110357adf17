-- The role of the June stack may not read the revocation tables.
GRANT SELECT ON zones, applications, resources, providers, gateway_binding_revision, gateway_resource_bindings
    TO GATEWAY_ROLE;
