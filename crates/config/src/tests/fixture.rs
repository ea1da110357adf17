//! A complete environment, and certificates made to order.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, CertifiedIssuer, KeyPair, date_time_ymd};
use tempfile::TempDir;

use crate::{Config, MapEnv, Violations, Warning};

/// A key that production accepts.
pub(crate) const KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF";

/// 1 September 2026, 00:00 UTC.
pub(crate) fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_788_220_800)
}

/// A date as rcgen takes it.
pub(crate) type Date = (i32, u8, u8);

/// Certificates in a directory that lasts as long as this value.
pub(crate) struct Files(TempDir);

impl Files {
    pub(crate) fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// A self-signed pair, valid from one date to the other.
    pub(crate) fn pair(&self, from: Date, to: Date) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
        let certificate = params(from, to).self_signed(&key).unwrap();
        (
            self.write("leaf.crt", certificate.pem()),
            self.write("leaf.key", key.serialize_pem()),
        )
    }

    /// A leaf with its issuer's certificate behind it.
    pub(crate) fn chain(&self, leaf_first: bool) -> (PathBuf, PathBuf) {
        let issuer =
            CertifiedIssuer::self_signed(params(LONG.0, LONG.1), KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let leaf = params(LONG.0, LONG.1).signed_by(&key, &issuer).unwrap();
        let (first, second) = if leaf_first {
            (leaf.pem(), issuer.pem())
        } else {
            (issuer.pem(), leaf.pem())
        };
        (
            self.write("chain.crt", format!("{first}\n{second}")),
            self.write("chain.key", key.serialize_pem()),
        )
    }
}

/// A validity around [`now`] with months on both sides.
pub(crate) const LONG: (Date, Date) = ((2026, 6, 1), (2027, 6, 1));

fn params((from_year, from_month, from_day): Date, (to_year, to_month, to_day): Date) -> CertificateParams {
    let mut params = CertificateParams::new(["gateway.example".to_owned()]).unwrap();
    params.not_before = date_time_ymd(from_year, from_month, from_day);
    params.not_after = date_time_ymd(to_year, to_month, to_day);
    params
}

/// Everything that production demands.
pub(crate) fn production(files: &Files) -> MapEnv {
    let (cert, key) = files.pair(LONG.0, LONG.1);
    MapEnv::new()
        .with("TLS_CERT_FILE", cert)
        .with("TLS_KEY_FILE", key)
        .with("STS_URL", "https://sts.example")
        .with("DATABASE_URL", "postgres://gateway:pw@db/caracal")
        .with("REDIS_URL", "redis://:pw@redis:6379/0")
        .with("STREAMS_HMAC_KEY", KEY)
        .with("AUDIT_HMAC_KEY", KEY)
        .with("GATEWAY_STS_HMAC_KEY", KEY)
}

/// The least that development accepts.
pub(crate) fn dev() -> MapEnv {
    MapEnv::new()
        .with("CARACAL_ENV", "dev")
        .with("INSECURE_HTTP", "true")
        .with("STS_URL", "http://sts:8080")
        .with("DATABASE_URL", "host=db")
        .with("REDIS_URL", "redis://redis")
        .with("STREAMS_HMAC_KEY", KEY)
        .with("AUDIT_HMAC_KEY", KEY)
        .with("GATEWAY_STS_HMAC_KEY", KEY)
}

/// Sets the variables, where an empty value counts as none.
pub(crate) fn with(env: MapEnv, changes: &[(&str, &str)]) -> MapEnv {
    changes
        .iter()
        .fold(env, |env, (name, value)| env.with(name, *value))
}

pub(crate) fn load(env: &MapEnv) -> Result<(Config, Vec<Warning>), Violations> {
    Config::load(env, now())
}

/// The violations, one text each; empty when the environment is accepted.
pub(crate) fn violations(env: &MapEnv) -> Vec<String> {
    load(env)
        .err()
        .map(|all| all.iter().map(ToString::to_string).collect())
        .unwrap_or_default()
}

/// Variables to set; an empty value removes one.
pub(crate) type Changes = &'static [(&'static str, &'static str)];

/// Checks that the changes to an accepted environment give exactly these violations.
pub(crate) fn check(base: &MapEnv, rows: &[(Changes, &[&str])]) {
    assert_eq!(violations(base), [""; 0], "the base environment must be accepted");
    for (changes, expect) in rows {
        assert_eq!(&violations(&with(base.clone(), changes)), expect, "{changes:?}");
    }
}
