//! Every rule in production and in development, with its exact text.

use super::fixture::{Changes, Files, KEY, check, dev, load, production, violations, with};
use crate::{MapEnv, Warning};

const SHORT: &str = "0011";

const CERTIFICATE_REQUIRED: &str =
    "TLS_CERT_FILE/TLS_KEY_FILE required; set INSECURE_HTTP=true to run plaintext";
const HALF_PAIR: &str = "TLS_CERT_FILE and TLS_KEY_FILE must both be set";

#[test]
fn the_mode_is_production_unless_dev_is_asked_for() {
    let files = Files::new();
    let production = production(&files);
    for (changes, expect) in [
        (&[][..], "production"),
        (&[("CARACAL_ENV", "production")], "production"),
        (&[("CARACAL_ENV", "dev")], "dev"),
        (&[("CARACAL_MODE", "stable")], "production"),
        (&[("CARACAL_MODE", "rc")], "production"),
        (&[("CARACAL_MODE", "dev")], "dev"),
        (&[("CARACAL_ENV", "dev"), ("CARACAL_MODE", "dev")], "dev"),
        (
            &[("CARACAL_ENV", "production"), ("CARACAL_MODE", "rc")],
            "production",
        ),
    ] {
        let (config, _) = load(&with(production.clone(), changes)).unwrap();
        assert_eq!(config.mode.name(), expect, "{changes:?}");
    }
    let unknown = "CARACAL_ENV must be production or dev";
    check(
        &production,
        &[
            (&[("CARACAL_ENV", "prod")], &[unknown]),
            (&[("CARACAL_ENV", "Production")], &[unknown]),
            (&[("CARACAL_ENV", "staging"), ("CARACAL_MODE", "dev")], &[unknown]),
            (
                &[("CARACAL_MODE", "production")],
                &["CARACAL_MODE must be stable, rc or dev"],
            ),
            (
                &[("CARACAL_ENV", "production"), ("CARACAL_MODE", "dev")],
                &[r#"CARACAL_ENV="production" and CARACAL_MODE="dev" disagree; set only one of them"#],
            ),
            (
                &[("CARACAL_ENV", "dev"), ("CARACAL_MODE", "stable")],
                &[r#"CARACAL_ENV="dev" and CARACAL_MODE="stable" disagree; set only one of them"#],
            ),
        ],
    );
}

/// A rule that a valid mode might lift is not held against an environment whose mode is unknown.
#[test]
fn an_unknown_mode_is_the_only_violation_of_a_dev_environment() {
    let env = with(
        dev(),
        &[
            ("CARACAL_ENV", "development"),
            ("INSECURE_STS", "true"),
            ("STS_URL", "http://a.b"),
            ("PORT", "9"),
        ],
    );
    assert_eq!(violations(&env), ["CARACAL_ENV must be production or dev"]);
}

#[test]
fn production_refuses_what_weakens_it() {
    let files = Files::new();
    check(
        &production(&files),
        &[
            (
                &[("INSECURE_HTTP", "true")],
                &["INSECURE_HTTP is forbidden when CARACAL_ENV=production; unset it or set it to false"],
            ),
            (
                &[
                    ("INSECURE_HTTP", "1"),
                    ("TLS_CERT_FILE", ""),
                    ("TLS_KEY_FILE", ""),
                ],
                &[
                    "INSECURE_HTTP is forbidden when CARACAL_ENV=production; unset it or set it to false",
                    CERTIFICATE_REQUIRED,
                ],
            ),
            (
                &[("INSECURE_STS", "T")],
                &["INSECURE_STS is forbidden when CARACAL_ENV=production; unset it or set it to false"],
            ),
            (
                &[("JTI_FAIL_OPEN", "true")],
                &["JTI_FAIL_OPEN is forbidden when CARACAL_ENV=production; unset it or set it to false"],
            ),
            (
                &[
                    ("INSECURE_HTTP", "false"),
                    ("INSECURE_STS", "0"),
                    ("JTI_FAIL_OPEN", "F"),
                ],
                &[],
            ),
            (
                &[("TLS_CERT_FILE", ""), ("TLS_KEY_FILE", "")],
                &[CERTIFICATE_REQUIRED],
            ),
            (&[("TLS_KEY_FILE", "")], &[HALF_PAIR]),
            (&[("TLS_CERT_FILE", "")], &[HALF_PAIR]),
            (
                &[("PORT", "8080")],
                &["PORT must be 8081 when CARACAL_ENV=production"],
            ),
            (
                &[("PORT", "0")],
                &["PORT must be 8081 when CARACAL_ENV=production"],
            ),
            (&[("PORT", "8081")], &[]),
            (
                &[("ALLOW_PRIVATE_UPSTREAMS", "true")],
                &["UPSTREAM_HOST_ALLOWLIST is required when ALLOW_PRIVATE_UPSTREAMS=true in production"],
            ),
            (
                &[
                    ("ALLOW_PRIVATE_UPSTREAMS", "true"),
                    ("UPSTREAM_HOST_ALLOWLIST", " , "),
                ],
                &["UPSTREAM_HOST_ALLOWLIST is required when ALLOW_PRIVATE_UPSTREAMS=true in production"],
            ),
            (
                &[
                    ("ALLOW_PRIVATE_UPSTREAMS", "true"),
                    ("UPSTREAM_HOST_ALLOWLIST", "a.internal"),
                ],
                &[],
            ),
            (
                &[("OPERATOR_ADDR", "127.0.0.1:0")],
                &["OPERATOR_ADDR must name a port when CARACAL_ENV=production"],
            ),
        ],
    );
}

#[test]
fn dev_lifts_the_production_rules_but_keeps_the_certificate_pair() {
    check(
        &dev(),
        &[
            (
                &[
                    ("JTI_FAIL_OPEN", "true"),
                    ("INSECURE_STS", "true"),
                    ("STS_URL", "http://sts.example"),
                ],
                &[],
            ),
            (&[("PORT", "0"), ("OPERATOR_ADDR", "127.0.0.1:0")], &[]),
            (&[("PORT", "65535")], &[]),
            (&[("ALLOW_PRIVATE_UPSTREAMS", "true")], &[]),
            (
                &[
                    ("STREAMS_HMAC_KEY", SHORT),
                    ("AUDIT_HMAC_KEY", SHORT),
                    ("GATEWAY_STS_HMAC_KEY", SHORT),
                ],
                &[],
            ),
            (&[("INSECURE_HTTP", "")], &[CERTIFICATE_REQUIRED]),
            (&[("INSECURE_HTTP", "false")], &[CERTIFICATE_REQUIRED]),
            (&[("TLS_CERT_FILE", "/x")], &[HALF_PAIR]),
            (&[("INSECURE_HTTP", ""), ("TLS_KEY_FILE", "/x")], &[HALF_PAIR]),
        ],
    );
}

#[test]
fn what_serve_cannot_do_without_is_required_in_every_mode() {
    let files = Files::new();
    let rows: [(Changes, &[&str]); 6] = [
        (
            &[("STS_URL", "")],
            &[
                "STS_URL is required; set it to the base address of the STS (`caracal-gateway dev` starts one of its own)",
            ],
        ),
        (
            &[("DATABASE_URL", "")],
            &[
                "DATABASE_URL is required; set it, or DATABASE_URL_FILE, to postgres://user@host:5432/database \
               (`caracal-gateway dev` needs none)",
            ],
        ),
        (
            &[("REDIS_URL", "")],
            &[
                "REDIS_URL is required; set it, or REDIS_URL_FILE, to redis://host:6379/0 (`caracal-gateway dev` needs none)",
            ],
        ),
        (
            &[("STREAMS_HMAC_KEY", "")],
            &[
                "STREAMS_HMAC_KEY is required; set it, or STREAMS_HMAC_KEY_FILE, to the 32-byte hex secret \
               shared with all publishers of the streams",
            ],
        ),
        (
            &[("AUDIT_HMAC_KEY", "")],
            &[
                "AUDIT_HMAC_KEY is required; set it, or AUDIT_HMAC_KEY_FILE, to the 32-byte hex secret \
               shared with the audit service",
            ],
        ),
        (
            &[("GATEWAY_STS_HMAC_KEY", "")],
            &[
                "GATEWAY_STS_HMAC_KEY is required; set it, or GATEWAY_STS_HMAC_KEY_FILE, to the 32-byte hex secret \
               shared with the STS",
            ],
        ),
    ];
    check(&production(&files), &rows);
    check(&dev(), &rows);
}

#[test]
fn keys_are_hex_in_every_mode_and_long_in_production() {
    let files = Files::new();
    let weak = |name| {
        format!("{name} must be hex-encoded with at least 32 bytes; make one with `openssl rand -hex 32`")
    };
    for name in ["STREAMS_HMAC_KEY", "AUDIT_HMAC_KEY", "GATEWAY_STS_HMAC_KEY"] {
        for (value, production_accepts, dev_accepts) in [
            (KEY, true, true),
            (&KEY[2..], false, true),
            (SHORT, false, true),
            (&KEY[1..], false, false),
            (
                "not hexadecimal, but longer than sixty-four characters, which is enough",
                false,
                false,
            ),
        ] {
            for (base, accepts) in [(production(&files), production_accepts), (dev(), dev_accepts)] {
                let expect = if accepts { vec![] } else { vec![weak(name)] };
                assert_eq!(violations(&base.with(name, value)), expect, "{name}={value}");
            }
        }
    }
    let (_, warnings) = load(&dev().with("AUDIT_HMAC_KEY", SHORT)).unwrap();
    assert!(
        warnings.contains(&Warning::ShortKey("AUDIT_HMAC_KEY")),
        "{warnings:?}"
    );
}

#[test]
fn every_violation_is_reported_at_once_one_prefixed_line_each() {
    let env = MapEnv::new()
        .with("INSECURE_HTTP", "true")
        .with("INSECURE_STS", "true")
        .with("JTI_FAIL_OPEN", "true")
        .with("PORT", "80")
        .with("ALLOW_PRIVATE_UPSTREAMS", "true")
        .with("STREAMS_HMAC_KEY", "zz")
        .with("STS_TIMEOUT", "soon")
        .with("MAX_REQUEST_BYTES", "-1");
    let printed = load(&env).unwrap_err().to_string();
    let lines: Vec<&str> = printed.lines().collect();
    for name in [
        "PORT must be 8081",
        "INSECURE_HTTP is forbidden",
        CERTIFICATE_REQUIRED,
        "invalid duration for STS_TIMEOUT",
        "invalid integer for MAX_REQUEST_BYTES",
        "JTI_FAIL_OPEN is forbidden",
        "INSECURE_STS is forbidden",
        "STS_URL is required",
        "UPSTREAM_HOST_ALLOWLIST is required",
        "REDIS_URL is required",
        "DATABASE_URL is required",
        "STREAMS_HMAC_KEY must be hex-encoded",
        "AUDIT_HMAC_KEY is required",
        "GATEWAY_STS_HMAC_KEY is required",
    ] {
        let hits = lines
            .iter()
            .filter(|line| line.starts_with(&format!("gateway config: {name}")));
        assert_eq!(hits.count(), 1, "{name} in:\n{printed}");
    }
    assert_eq!(lines.len(), 14, "{printed}");
}

#[test]
fn the_login_at_sentinels_needs_sentinels_and_a_password() {
    const NEEDS_SENTINELS: &str = "REDIS_SENTINEL_USERNAME and REDIS_SENTINEL_PASSWORD need a redis-sentinel:// address \
                                   in REDIS_URL; unset them, or change the address";
    const SENTINELS: (&str, &str) = ("REDIS_URL", "redis-sentinel://:pw@s1,s2,s3/0?service=caracal");
    check(
        &dev(),
        &[
            (&[SENTINELS], &[]),
            (&[SENTINELS, ("REDIS_SENTINEL_PASSWORD", "x")], &[]),
            (
                &[
                    SENTINELS,
                    ("REDIS_SENTINEL_USERNAME", "u"),
                    ("REDIS_SENTINEL_PASSWORD", "x"),
                ],
                &[],
            ),
            (
                &[SENTINELS, ("REDIS_SENTINEL_USERNAME", "u")],
                &["REDIS_SENTINEL_PASSWORD is required beside REDIS_SENTINEL_USERNAME; set it"],
            ),
            (&[("REDIS_SENTINEL_USERNAME", "u")], &[NEEDS_SENTINELS]),
            (&[("REDIS_SENTINEL_PASSWORD", "x")], &[NEEDS_SENTINELS]),
            (
                &[
                    ("REDIS_URL", "redis-cluster://c1"),
                    ("REDIS_SENTINEL_PASSWORD", "x"),
                ],
                &[NEEDS_SENTINELS],
            ),
        ],
    );
}

#[test]
fn failovers_without_confirmed_marks_are_warned_of() {
    for url in [
        "redis-sentinel://s1,s2,s3?service=caracal",
        "redis-cluster://c1,c2",
    ] {
        for (replicas, expect) in [("", true), ("0", true), ("1", false)] {
            let env = with(dev(), &[("REDIS_URL", url), ("REPLAY_MIN_REPLICAS", replicas)]);
            let (_, warnings) = load(&env).unwrap();
            let warned = warnings.contains(&Warning::UnconfirmedMarks);
            assert_eq!(warned, expect, "{url} {replicas}");
        }
    }
    let (_, warnings) = load(&dev()).unwrap();
    assert!(
        !warnings.contains(&Warning::UnconfirmedMarks),
        "one server has no replicas to promote"
    );
}
