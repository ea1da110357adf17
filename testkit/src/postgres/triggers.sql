-- The revision and the notification follow every change, whoever made it.
CREATE FUNCTION gateway_bindings_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE gateway_binding_revision SET version = version + 1, updated_at = now();
    PERFORM pg_notify('caracal_gateway_bindings', '');
    RETURN NULL;
END $$;
CREATE TRIGGER gateway_bindings_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON gateway_resource_bindings
    FOR EACH STATEMENT EXECUTE FUNCTION gateway_bindings_changed();
CREATE TRIGGER gateway_bindings_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON resources
    FOR EACH STATEMENT EXECUTE FUNCTION gateway_bindings_changed();
