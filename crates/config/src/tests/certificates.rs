//! Certificate pairs, authorities and their periods of validity.

use std::path::PathBuf;

use super::fixture::{Date, Files, LONG, dev, load, now, production, violations};
use crate::{Env as _, MapEnv, Renewable as _, Transport, Warning};

const MISMATCH: &str = "TLS_KEY_FILE does not match the first certificate in TLS_CERT_FILE; put the leaf first, and its own key beside it";

fn tls(env: MapEnv, (cert, key): (PathBuf, PathBuf)) -> MapEnv {
    env.with("TLS_CERT_FILE", cert).with("TLS_KEY_FILE", key)
}

/// Production, and development without its permission for plain HTTP, each with this pair.
fn both_modes(pair: (PathBuf, PathBuf)) -> [MapEnv; 2] {
    let replaced = Files::new();
    [production(&replaced), dev().with("INSECURE_HTTP", "")].map(|env| tls(env, pair.clone()))
}

#[test]
fn files_that_cannot_be_read_are_refused_in_every_mode() {
    let files = Files::new();
    let (cert, key) = files.pair(LONG.0, LONG.1);
    let large = files.write("large", vec![b'\n'; (1 << 20) + 1]);
    let missing = cert.with_file_name("missing");
    for (cert_file, key_file, expect) in [
        (
            &missing,
            &key,
            "TLS_CERT_FILE: the file it names cannot be read: entity not found",
        ),
        (
            &cert,
            &missing,
            "TLS_KEY_FILE: the file it names cannot be read: entity not found",
        ),
        (
            &large,
            &key,
            "TLS_CERT_FILE: the file it names cannot be read: file too large",
        ),
    ] {
        for env in both_modes((cert_file.clone(), key_file.clone())) {
            assert_eq!(violations(&env), [expect], "{cert_file:?} {key_file:?}");
        }
    }
}

#[test]
fn a_key_of_another_certificate_is_refused_in_every_mode() {
    let (files, others) = (Files::new(), Files::new());
    let (_, other_key) = others.pair(LONG.0, LONG.1);
    let (cert, _) = files.pair(LONG.0, LONG.1);
    for env in both_modes((cert, other_key)) {
        assert_eq!(violations(&env), [MISMATCH]);
    }
}

#[test]
fn a_chain_is_kept_whole_and_must_begin_with_the_leaf() {
    let files = Files::new();
    let (config, _) = load(&tls(production(&files), files.chain(true))).unwrap();
    let Transport::Tls(server) = config.listener.transport else {
        panic!("a certificate is set")
    };
    assert_eq!(server.identity.certified_key().cert.len(), 2);

    assert_eq!(
        violations(&tls(production(&files), files.chain(false))),
        [MISMATCH]
    );
}

#[test]
fn production_refuses_a_certificate_outside_its_period_and_dev_warns() {
    let rows: [(Date, Date, &str); 2] = [
        (
            (2026, 1, 1),
            (2026, 8, 30),
            "TLS_CERT_FILE: the certificate expired 2 days ago",
        ),
        (
            (2026, 9, 4),
            (2027, 1, 1),
            "TLS_CERT_FILE: the certificate is not valid for another 3 days",
        ),
    ];
    for (from, to, expect) in rows {
        let files = Files::new();
        let env = tls(production(&files), files.pair(from, to));
        assert_eq!(violations(&env), [format!("{expect}; renew it")]);

        let (_, warnings) = load(&tls(dev().with("INSECURE_HTTP", ""), files.pair(from, to))).unwrap();
        let warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
        assert_eq!(warnings, [expect]);
    }
}

#[test]
fn a_certificate_with_less_than_thirty_days_left_is_a_warning() {
    let soon = |days| {
        vec![Warning::CertificateExpiresSoon {
            name: "TLS_CERT_FILE",
            days,
        }]
    };
    for (to, expect) in [
        ((2026, 10, 1), vec![]),
        ((2026, 9, 30), soon(29)),
        ((2026, 9, 1), soon(0)),
    ] {
        let files = Files::new();
        let (_, warnings) = load(&tls(production(&files), files.pair((2026, 6, 1), to))).unwrap();
        assert_eq!(warnings, expect, "{to:?}");
    }
}

#[test]
fn plain_http_wins_over_a_certificate_in_dev() {
    let files = Files::new();
    let (config, _) = load(&tls(dev(), files.pair(LONG.0, LONG.1))).unwrap();
    assert!(matches!(config.listener.transport, Transport::Plain(_)));
}

#[test]
fn files_are_read_again_and_judged_as_at_start() {
    let files = Files::new();
    let (cert, key) = files.pair(LONG.0, LONG.1);
    let (config, _) = load(&tls(production(&Files::new()), (cert.clone(), key))).unwrap();
    let Transport::Tls(before) = config.listener.transport else {
        panic!("a certificate is set")
    };
    let again = || before.renewed(&before.look(), config.mode, now());
    let first = before.made_of();
    assert!(first == before.look());
    files.pair((2026, 8, 1), (2028, 1, 1));
    assert!(first != before.look());
    let (after, refused) = again();
    assert_eq!(refused, None);
    assert!(after.identity.not_after() > before.identity.not_after());
    // What was looked at counts, not what is there by then.
    let (earlier, _) = before.renewed(&first, config.mode, now());
    assert_eq!(earlier.identity.not_after(), before.identity.not_after());

    let refused = || again().1.unwrap().in_one_line();
    files.pair((2026, 1, 1), (2026, 8, 30));
    assert_eq!(
        refused(),
        "TLS_CERT_FILE: the certificate expired 2 days ago; renew it"
    );
    std::fs::write(&cert, "garbage").unwrap();
    assert!(
        refused().starts_with("TLS_CERT_FILE: the file has no PEM block"),
        "{}",
        refused()
    );
    std::fs::remove_file(&cert).unwrap();
    assert_eq!(
        refused(),
        "TLS_CERT_FILE: the file it names cannot be read: entity not found"
    );
}

#[test]
fn connections_of_the_gateway_take_authorities_and_client_certificates() {
    for (prefix, url) in [
        ("STS", "https://sts"),
        ("REDIS", "rediss://redis"),
        ("DATABASE", "postgres://db/c"),
        ("UPSTREAM", "unread"),
    ] {
        let files = Files::new();
        let (cert, key) = files.pair(LONG.0, LONG.1);
        let ca = files.write("ca.crt", std::fs::read(&cert).unwrap());
        let (ca_name, cert_name, key_name) = (
            format!("{prefix}_CA_FILE"),
            format!("{prefix}_CLIENT_CERT_FILE"),
            format!("{prefix}_CLIENT_KEY_FILE"),
        );
        let env = dev().with(&format!("{prefix}_URL"), url);
        let full = env
            .clone()
            .with(&ca_name, &ca)
            .with(&cert_name, &cert)
            .with(&key_name, &key);
        let (config, _) = load(&full).unwrap();
        let crate::Stores::External(stores) = &config.stores else {
            panic!("serve never embeds")
        };
        let tls = match prefix {
            "STS" => &config.sts.tls,
            "REDIS" => &stores.redis.tls,
            "UPSTREAM" => &config.upstream_tls,
            _ => &stores.database.tls,
        };
        assert_eq!(
            tls.authorities.as_ref().map(|ca| ca.certificates.len()),
            Some(1),
            "{prefix}"
        );
        let identity = tls.identity.as_ref().unwrap();
        assert_eq!(identity.chain_pem(), std::fs::read(&cert).unwrap());
        assert_eq!(identity.expose_key_pem(), std::fs::read(&key).unwrap());

        assert_eq!(
            violations(&full.clone().with(&key_name, "")),
            [format!("{cert_name} and {key_name} must both be set")]
        );
        assert_eq!(
            violations(&env.with(&ca_name, &key)),
            [format!(
                "{ca_name}: the file holds a private key and no certificate; \
                 it must hold PEM certificates (BEGIN CERTIFICATE), the leaf first"
            )]
        );
    }
}

#[test]
fn authorities_for_a_connection_in_plain_text_are_refused() {
    let files = Files::new();
    let (cert, key) = files.pair(LONG.0, LONG.1);
    for (name, url) in [("STS_CA_FILE", "STS_URL"), ("REDIS_CA_FILE", "REDIS_URL")] {
        assert_eq!(
            violations(&dev().with(name, &cert)),
            [format!(
                "{name} is set but {url} does not use TLS; change the URL's scheme or unset {name}"
            )]
        );
    }
    let pair = dev()
        .with("REDIS_CLIENT_CERT_FILE", cert)
        .with("REDIS_CLIENT_KEY_FILE", key);
    assert_eq!(violations(&pair).len(), 1);
}

#[test]
fn authorities_of_the_database_url_count_where_no_file_is_named() {
    let files = Files::new();
    let (cert, _) = files.pair(LONG.0, LONG.1);
    let with = |authorities: &std::path::Path| {
        let url = format!(
            "host=db sslmode=verify-full sslrootcert='{}'",
            authorities.display()
        );
        dev().with("DATABASE_URL", url)
    };
    let authorities = |env: &MapEnv| {
        let crate::Stores::External(stores) = load(env).unwrap().0.stores else {
            panic!("serve never embeds")
        };
        stores.database.tls.authorities.map(|authorities| authorities.pem)
    };
    assert_eq!(authorities(&with(&cert)), std::fs::read(&cert).ok());
    let other = Files::new().pair(LONG.0, LONG.1).0;
    let named = files.write("named", std::fs::read(&cert).unwrap());
    assert!(!other.exists());
    assert_eq!(
        authorities(&with(&other).with("DATABASE_CA_FILE", &named)),
        std::fs::read(&named).ok()
    );
    assert_eq!(
        violations(&with(&other)),
        ["sslrootcert in DATABASE_URL: the file it names cannot be read: entity not found"]
    );
}

#[test]
fn certificates_of_callers_are_required_unless_they_are_only_requested() {
    let files = Files::new();
    let good = production(&files);
    let authorities = good.get("TLS_CERT_FILE").unwrap();
    let with = |changes: &[(&str, &std::ffi::OsStr)]| {
        let set = |env: MapEnv, (name, value): &(&str, &std::ffi::OsStr)| env.with(name, *value);
        changes.iter().fold(good.clone(), set)
    };
    let asks = |env: &MapEnv| {
        let Transport::Tls(server) = load(env).unwrap().0.listener.transport else {
            panic!("a certificate is set")
        };
        assert!(server.look() == server.made_of());
        server.clients.map(|clients| clients.are_required)
    };
    let ca = ("TLS_CLIENT_CA_FILE", authorities.as_os_str());
    let auth = |how: &'static str| ("TLS_CLIENT_AUTH", std::ffi::OsStr::new(how));
    assert_eq!(asks(&good), None);
    assert_eq!(asks(&with(&[ca])), Some(true));
    assert_eq!(asks(&with(&[ca, auth("require")])), Some(true));
    assert_eq!(asks(&with(&[ca, auth("request")])), Some(false));

    let none = std::ffi::OsStr::new("");
    for (changes, expect) in [
        (
            &[ca, auth("maybe")][..],
            "invalid value for TLS_CLIENT_AUTH: \"maybe\" (use require or request)",
        ),
        (
            &[auth("request")],
            "TLS_CLIENT_CA_FILE is required beside TLS_CLIENT_AUTH; set it to the authorities of the callers' certificates",
        ),
        (
            &[ca, ("TLS_CERT_FILE", none), ("TLS_KEY_FILE", none)],
            "TLS_CLIENT_CA_FILE needs TLS_CERT_FILE and TLS_KEY_FILE: only a caller over TLS can show a certificate",
        ),
    ] {
        assert_eq!(violations(&with(changes)), [expect]);
    }
}
