//! No secret appears in anything that can be printed, whatever is wrong with the environment.

use std::os::unix::ffi::OsStringExt as _;

use proptest::prelude::*;

use super::fixture::{Files, KEY, dev, load, now, production};
use crate::keys::{self, Key};
use crate::{Env, MapEnv, RedisServers, Stores, Transport, checklist};

/// Everything that an environment makes the gateway print.
fn printed(env: &MapEnv) -> String {
    let judged = match load(env) {
        Ok((config, warnings)) => {
            let lines: Vec<String> = warnings.iter().map(ToString::to_string).collect();
            format!("{config:?} {warnings:?} {lines:?}")
        }
        Err(violations) => format!("{violations:?} {violations}"),
    };
    let lines = checklist(env, now());
    let text: Vec<String> = lines.iter().map(ToString::to_string).collect();
    format!("{judged} {lines:?} {text:?}")
}

fn secrets() -> impl Strategy<Value = &'static Key> {
    prop::sample::select(keys::all().filter(|key| key.is_secret()).collect::<Vec<_>>())
}

/// Ways to spell a planted secret, most of them wrong for most variables.
const SHAPES: [&str; 21] = [
    "{}",
    "postgres://user:{}@db/caracal",
    "postgres://user:{}@db:port/caracal",
    "postgres://user:{}@",
    "host=db password={}",
    "host=db password='{}",
    "redis://:{}@redis:6379/0",
    "redis://:{}@redis:notaport",
    "rediss://{}",
    "redis://redis/?password={}",
    "redis-sentinel://:{}@s1,s2/0?service=main",
    "redis-cluster://:{}@c1,c2",
    "unix://:{}@/run/redis.sock",
    "https://user:{}@example",
    "https://anchor.example/{}?key={}",
    "http://localhost/{}#{}",
    "mysql://u:{}@db",
    "{}\n{}",
    "{} trailing",
    "\u{7f}{}",
    "/{}",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_planted_secret_is_never_printed(
        key in secrets(),
        secret in "[0-9a-f]{24}[g-z]{0,8}",
        shape in prop::sample::select(&SHAPES[..]),
        how in 0..7u8,
        in_production in any::<bool>(),
    ) {
        let files = Files::new();
        let base = if in_production { production(&files) } else { dev() };
        let value = shape.replace("{}", &secret);
        let file_name = format!("{}_FILE", key.name);
        let alone = base.clone().with(key.name, "");
        let env = match how {
            0 => base.with(key.name, value),
            1 => alone.with(&file_name, files.write("secret", value)),
            // Both at once.
            2 => base.with(key.name, value.clone()).with(&file_name, files.write("secret", value)),
            // The secret where its path should be.
            3 => alone.with(&file_name, value),
            // Text that is not Unicode, in the variable and in the file.
            4 => base.with(key.name, std::ffi::OsString::from_vec([value.as_bytes(), b"\xff"].concat())),
            5 => alone.with(&file_name, files.write("secret", [value.as_bytes(), b"\xff"].concat())),
            _ => base.with(key.name, value).with("CARACAL_ENV", "unknown").with("STS_TIMEOUT", "never"),
        };
        let printed = printed(&env);
        prop_assert!(!printed.contains(&secret), "{} leaks in {}", key.name, printed);
    }
}

#[test]
fn passwords_in_the_url_of_the_sts_are_not_printed() {
    for url in [
        "https://user:hunter2@sts",
        "http://hunter2@sts.example",
        "hunter2",
        "https://sts/?k=hunter2",
        "ftp://hunter2",
    ] {
        assert!(!printed(&dev().with("STS_URL", url)).contains("hunter2"), "{url}");
    }
}

/// Key material pasted in place of a path, or lying in the wrong file.
#[test]
fn private_keys_are_not_printed() {
    let files = Files::new();
    let good = production(&files);
    let key = good.get("TLS_KEY_FILE").unwrap();
    let pem = std::fs::read_to_string(&key).unwrap();
    let body = pem.lines().nth(1).unwrap();
    assert!(load(&good).is_ok() && body.len() > 20);
    for env in [
        good.clone(),
        good.clone().with("TLS_KEY_FILE", pem.clone()),
        good.clone().with("TLS_CERT_FILE", pem.clone()),
        good.clone().with("TLS_CERT_FILE", &key),
        good.clone().with("STS_CA_FILE", &key),
        good.clone()
            .with("TLS_KEY_FILE", files.write("cut.key", &pem[..pem.len() - 30])),
        good.with("STS_CLIENT_KEY_FILE", pem.clone())
            .with("STS_CLIENT_CERT_FILE", pem.clone()),
    ] {
        assert!(!printed(&env).contains(body));
    }
}

#[test]
fn secrets_come_from_files_without_trailing_white_space() {
    let files = Files::new();
    let env = dev()
        .with("REDIS_URL", "")
        .with("AUDIT_HMAC_KEY", "")
        .with(
            "REDIS_URL_FILE",
            files.write("redis", "redis://:p w@redis \r\n\n"),
        )
        .with("AUDIT_HMAC_KEY_FILE", files.write("audit", format!("{KEY}\n")))
        .with(
            "METRICS_BEARER_FILE",
            files.write("metrics", " leading stays\t\n"),
        );
    let (config, _) = load(&env).unwrap();
    let Stores::External(stores) = &config.stores else {
        panic!("serve never embeds")
    };
    let RedisServers::Single(server) = &stores.redis.servers else {
        panic!("one server")
    };
    assert_eq!(server.redis_settings().password(), Some("p w"));
    assert_eq!(config.signing.audit.as_bytes().len(), 32);
    let crate::MetricsAccess::Bearer(bearer) = &config.operator.metrics else {
        panic!("a bearer is set")
    };
    assert_eq!(bearer.expose(), " leading stays");
    assert!(matches!(config.listener.transport, Transport::Plain(_)));
}

#[test]
fn secret_files_that_cannot_be_used_are_violations() {
    let files = Files::new();
    let base = dev().with("AUDIT_HMAC_KEY", "");
    for (path, expect) in [
        (
            files.write("empty", " \n"),
            "AUDIT_HMAC_KEY_FILE: the file it names is empty",
        ),
        (
            files.write("binary", b"\xff"),
            "AUDIT_HMAC_KEY_FILE: the file it names is not valid UTF-8",
        ),
        (
            files.write("large", vec![b'a'; (1 << 20) + 1]),
            "AUDIT_HMAC_KEY_FILE: the file it names cannot be read: file too large",
        ),
        (
            files.write("x", "").with_file_name(""),
            "AUDIT_HMAC_KEY_FILE: the file it names cannot be read: is a directory",
        ),
        (
            files.write("x", "").with_file_name("missing"),
            "AUDIT_HMAC_KEY_FILE: the file it names cannot be read: entity not found",
        ),
    ] {
        assert_eq!(
            super::fixture::violations(&base.clone().with("AUDIT_HMAC_KEY_FILE", path)),
            [expect]
        );
    }
    let twice = dev().with("REDIS_URL_FILE", files.write("y", "redis://redis"));
    assert_eq!(
        super::fixture::violations(&twice),
        ["REDIS_URL and REDIS_URL_FILE are both set; keep one"]
    );
}
