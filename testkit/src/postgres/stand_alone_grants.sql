GRANT SELECT ON zones, resources, gateway_binding_revision, gateway_resource_bindings, authority_records, sessions,
    delegation_edges TO GATEWAY_ROLE;
