GRANT SELECT ON zones, applications, providers, resources, authority_records, sessions, delegation_edges
    TO GATEWAY_ROLE;
