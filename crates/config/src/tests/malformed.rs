//! A malformed value is refused with the variable, the value and the fix.

use super::fixture::{Files, check, production};

#[test]
fn malformed_values_name_the_variable_the_value_and_the_fix() {
    let files = Files::new();
    check(
        &production(&files),
        &[
            (
                &[("STS_TIMEOUT", "5")],
                &[
                    r#"invalid duration for STS_TIMEOUT: "5" (use a duration greater than 0, such as 5s, 250ms or 1m30s)"#,
                ],
            ),
            (
                &[("READ_TIMEOUT", "0"), ("WRITE_TIMEOUT", "-1s")],
                &[
                    r#"invalid duration for READ_TIMEOUT: "0" (use a duration greater than 0, such as 5s, 250ms or 1m30s)"#,
                    r#"invalid duration for WRITE_TIMEOUT: "-1s" (use a duration greater than 0, such as 5s, 250ms or 1m30s)"#,
                ],
            ),
            (
                &[("STREAM_IDLE_TIMEOUT", "-1s")],
                &[
                    r#"invalid duration for STREAM_IDLE_TIMEOUT: "-1s" (use 0, or a duration such as 5s, 250ms or 1m30s)"#,
                ],
            ),
            (&[("STREAM_IDLE_TIMEOUT", "0"), ("DRAIN_DELAY", "0s")], &[]),
            (&[("STREAM_IDLE_TIMEOUT", "0"), ("SSE_KEEPALIVE", "1h")], &[]),
            (
                &[("STREAM_IDLE_TIMEOUT", "15s"), ("SSE_KEEPALIVE", "15s")],
                &["SSE_KEEPALIVE must be shorter than STREAM_IDLE_TIMEOUT, which ends the stream first"],
            ),
            (
                &[("INSECURE_HTTP", "yes")],
                &[r#"invalid boolean for INSECURE_HTTP: "yes" (use true or false)"#],
            ),
            (
                &[("MAX_REQUEST_BYTES", "10MB")],
                &[
                    r#"invalid integer for MAX_REQUEST_BYTES: "10MB" (use a whole number from 1 to 9223372036854775807)"#,
                ],
            ),
            (
                &[("AUDIT_SPOOL_MAX_BYTES", "1048575")],
                &["AUDIT_SPOOL_MAX_BYTES must be at least 1048576"],
            ),
            (
                &[("MAX_CONNECTIONS", "4294967296")],
                &[
                    r#"invalid integer for MAX_CONNECTIONS: "4294967296" (use a whole number from 1 to 4294967295)"#,
                ],
            ),
            (
                &[("PORT", "70000")],
                &[r#"invalid value for PORT: "70000" (use a TCP port, 1-65535)"#],
            ),
            (
                &[("BIND_ADDR", "localhost")],
                &[r#"invalid value for BIND_ADDR: "localhost" (use an IP address such as 0.0.0.0 or [::])"#],
            ),
            (
                &[("STS_DIALECT", "oauth")],
                &[r#"invalid value for STS_DIALECT: "oauth" (use caracal or rfc8693)"#],
            ),
            (
                &[("AUDIT_FSYNC", "never")],
                &[r#"invalid value for AUDIT_FSYNC: "never" (use interval or always)"#],
            ),
            (
                &[("LOG_LEVEL", "verbose")],
                &[r#"invalid value for LOG_LEVEL: "verbose" (use trace, debug, info, warn or error)"#],
            ),
            (
                &[("TRUSTED_PROXIES", "10.0.0.0/8,proxy")],
                &[
                    r#"invalid value for TRUSTED_PROXIES: "proxy" (use networks such as 10.0.0.0/8 or single addresses)"#,
                ],
            ),
            (
                &[(
                    "CORS_ALLOWED_ORIGINS",
                    "*,null,https://a.example/,https://a.example",
                )],
                &[
                    r#"invalid value for CORS_ALLOWED_ORIGINS: "*" (use each origin by its name: * would admit every page of the web)"#,
                ],
            ),
            (
                &[("CORS_ALLOWED_ORIGINS", "https://a.example/")],
                &[
                    r#"invalid value for CORS_ALLOWED_ORIGINS: "https://a.example/" (use an origin without a path, query or fragment, and without a slash at its end)"#,
                ],
            ),
            (
                &[("PROXY_PROTOCOL", "required")],
                &["PROXY_PROTOCOL needs TRUSTED_PROXIES: only a proxy named there is believed"],
            ),
            (
                &[("PROXY_PROTOCOL", "on"), ("TRUSTED_PROXIES", "10.0.0.0/8")],
                &[r#"invalid value for PROXY_PROTOCOL: "on" (use off, optional or required)"#],
            ),
            (
                &[("UPSTREAM_HOST_ALLOWLIST", "a.example,*.b.example")],
                &[
                    r#"invalid value for UPSTREAM_HOST_ALLOWLIST: "*.b.example" (use exact host names, without scheme, port, path or wildcard)"#,
                ],
            ),
            (
                &[("ALLOW_UPGRADES", "websocket,h2c")],
                &[
                    r#"invalid value for ALLOW_UPGRADES: "h2c" (use another protocol: requests within HTTP, once switched to, would pass without a mandate)"#,
                ],
            ),
            (
                &[("UPSTREAM_H2C_HOSTS", "grpc.example:50051")],
                &[
                    r#"invalid value for UPSTREAM_H2C_HOSTS: "grpc.example:50051" (use exact host names, without scheme, port, path or wildcard)"#,
                ],
            ),
            (
                &[("OPERATOR_ADDR", "9090")],
                &[
                    r#"invalid value for OPERATOR_ADDR: "9090" (use an address and a port such as 127.0.0.1:9090)"#,
                ],
            ),
            (
                &[("OPERATOR_ADDR", "127.0.0.1:8081")],
                &["OPERATOR_ADDR must differ from BIND_ADDR and PORT"],
            ),
            (
                &[("OPERATOR_ADDR", "127.0.0.1:8081"), ("BIND_ADDR", "127.0.0.2")],
                &[],
            ),
            (
                &[("PREFLIGHT_WINDOW", "1.5s")],
                &["PREFLIGHT_WINDOW must be a whole number of seconds"],
            ),
            (
                &[("REUSABLE_MANDATE_USES", "none,session")],
                &["REUSABLE_MANDATE_USES: none must stand alone"],
            ),
            (
                &[("DB_MIN_CONNS", "21")],
                &["DB_MIN_CONNS must not be greater than DB_MAX_CONNS"],
            ),
            (
                &[("DATABASE_URL", "mysql://db")],
                &["DATABASE_URL is malformed; it must look like postgres://user@host:5432/database"],
            ),
            (
                &[("REDIS_URL", "redis")],
                &["REDIS_URL is malformed; it must look like redis://host:6379/0"],
            ),
        ],
    );
}
