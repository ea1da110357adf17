//! What a gateway may be started with: every rule of the configuration, by its exit status and its words.

mod check_command;
mod database_url;
mod failed;
mod secrets;
mod values;

use crate::report::{Found, Report};
use crate::world::World;
use tempfile::TempDir;
use testkit::gateway::{Finished, Launch};
use testkit::tls::{Ca, Files};

/// What stands before every line.
const PREFIX: &str = "gateway config: ";
/// `EX_CONFIG` of sysexits.
const REFUSED: Option<i32> = Some(78);
const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

/// Certificates of every kind, and an environment that production accepts.
struct Ground {
    directory: TempDir,
    good: Files,
    other: Files,
    expired: Files,
}

impl Ground {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let ca = Ca::new();
        let names = ["gateway.example"];
        let write = |name: &str, identity: testkit::tls::Identity| {
            let folder = directory.path().join(name);
            std::fs::create_dir(&folder).expect("a new directory");
            identity.write_to(&folder)
        };
        Self {
            good: write("good", ca.server(&names)),
            other: write("other", ca.server(&names)),
            expired: write("expired", ca.expired_server(&names)),
            directory,
        }
    }

    /// A file with this content.
    fn file(&self, name: &str, content: &str) -> String {
        let path = self.directory.path().join(name);
        std::fs::write(&path, content).expect("a new file");
        path.display().to_string()
    }

    /// An environment that production accepts, with changes; an empty value counts as unset.
    fn production(&self, changes: &[(&str, &str)]) -> Launch {
        Launch::new()
            .env("TLS_CERT_FILE", self.good.certificate.display().to_string())
            .env("TLS_KEY_FILE", self.good.key.display().to_string())
            .env(
                "AUDIT_REPLAY_DIR",
                self.directory.path().join("spool").display().to_string(),
            )
            .envs(backends())
            .envs(changes.iter().copied())
    }

    /// One that development accepts, with changes.
    fn dev(changes: &[(&str, &str)]) -> Launch {
        Launch::new()
            .envs([("CARACAL_ENV", "dev"), ("INSECURE_HTTP", "true"), ("PORT", "0")])
            .envs(backends())
            .envs(changes.iter().copied())
    }
}

fn backends() -> [(&'static str, &'static str); 6] {
    [
        ("DATABASE_URL", "postgres://gateway:pw@127.0.0.1:1/caracal"),
        ("REDIS_URL", "redis://127.0.0.1:1/0"),
        ("STS_URL", "https://sts.example"),
        ("STREAMS_HMAC_KEY", KEY),
        ("AUDIT_HMAC_KEY", KEY),
        ("GATEWAY_STS_HMAC_KEY", KEY),
    ]
}

/// A refusal to start: status 78, every line prefixed, and for each of `words` a line that holds it. No other lines
/// than these, so that a rule does not drag innocent variables along.
fn refuses(finished: &Finished, words: &[&str]) -> Found {
    let said = finished.stderr.join("\n");
    if finished.code != REFUSED {
        return Err(format!("status {:?}: {said}", finished.code));
    }
    if let Some(bare) = finished.stderr.iter().find(|line| !line.starts_with(PREFIX)) {
        return Err(format!("a line without prefix: {bare}"));
    }
    for word in words {
        if !finished.stderr.iter().any(|line| line.contains(word)) {
            return Err(format!("no line says {word:?}: {said}"));
        }
    }
    if finished.stderr.len() != words.len() {
        return Err(format!(
            "{} lines, expected {}: {said}",
            finished.stderr.len(),
            words.len()
        ));
    }
    Ok(())
}

/// Changes of a good environment, and a part of each line that the start then ends with.
type Case<'a> = (&'a [(&'a str, &'a str)], &'a [&'a str]);

const HALF_PAIR: &str = "gateway config: TLS_CERT_FILE and TLS_KEY_FILE must both be set";
const NO_PAIR: &str =
    "gateway config: TLS_CERT_FILE/TLS_KEY_FILE required; set INSECURE_HTTP=true to run plaintext";

#[tokio::test]
async fn start_in_production_with_a_violation_is_refused() {
    let ground = Ground::new();
    let path = |path: &std::path::Path| path.display().to_string();
    let expired = [
        ("TLS_CERT_FILE", path(&ground.expired.certificate)),
        ("TLS_KEY_FILE", path(&ground.expired.key)),
    ];
    let expired = expired.each_ref().map(|(name, value)| (*name, value.as_str()));
    let foreign_key = path(&ground.other.key);
    let not_pem = ground.file("not.pem", "no certificate");
    let cases: &[Case<'_>] = &[
        (&[("INSECURE_HTTP", "true")], &["INSECURE_HTTP"]),
        (&[("INSECURE_STS", "true")], &["INSECURE_STS"]),
        (&[("JTI_FAIL_OPEN", "true")], &["JTI_FAIL_OPEN"]),
        (&[("JTI_FAIL_OPEN", "1")], &["JTI_FAIL_OPEN"]),
        (&[("TLS_CERT_FILE", ""), ("TLS_KEY_FILE", "")], &[NO_PAIR]),
        (&[("TLS_CERT_FILE", "")], &[HALF_PAIR]),
        (&[("TLS_KEY_FILE", "")], &[HALF_PAIR]),
        (&[("PORT", "8080")], &["PORT must be 8081"]),
        (&[("PORT", "0")], &["PORT must be 8081"]),
        (
            &[("ALLOW_PRIVATE_UPSTREAMS", "true")],
            &["UPSTREAM_HOST_ALLOWLIST"],
        ),
        (
            &[
                ("ALLOW_PRIVATE_UPSTREAMS", "true"),
                ("UPSTREAM_HOST_ALLOWLIST", " , ,"),
            ],
            &["UPSTREAM_HOST_ALLOWLIST"],
        ),
        (&[("DATABASE_URL", "")], &["DATABASE_URL"]),
        (&[("REDIS_URL", "")], &["REDIS_URL"]),
        (&[("STS_URL", "")], &["STS_URL"]),
        (&[("STREAMS_HMAC_KEY", "")], &["STREAMS_HMAC_KEY"]),
        (&[("AUDIT_HMAC_KEY", "")], &["AUDIT_HMAC_KEY"]),
        (&[("GATEWAY_STS_HMAC_KEY", "")], &["GATEWAY_STS_HMAC_KEY"]),
        (&[("STREAMS_HMAC_KEY", &KEY[2..])], &["STREAMS_HMAC_KEY"]),
        (
            &[(
                "AUDIT_HMAC_KEY",
                "not hexadecimal at all, and long enough to be a key, is it not?",
            )],
            &["AUDIT_HMAC_KEY"],
        ),
        (&[("GATEWAY_STS_HMAC_KEY", &KEY[1..])], &["GATEWAY_STS_HMAC_KEY"]),
        (&expired, &["TLS_CERT_FILE"]),
        (&[("TLS_KEY_FILE", &foreign_key)], &["TLS_"]),
        (&[("TLS_CERT_FILE", &not_pem)], &["TLS_CERT_FILE"]),
        (&[("TLS_KEY_FILE", &not_pem)], &["TLS_KEY_FILE"]),
        (
            &[("TLS_CERT_FILE", "/nowhere/certificate.pem")],
            &["TLS_CERT_FILE"],
        ),
        (&[("STS_URL", "http://sts.example.com")], &["STS_URL"]),
        (&[("STS_URL", "http://10.0.0.7:8080")], &["STS_URL"]),
        (&[("STS_URL", "http://[fd00::7]:8080")], &["STS_URL"]),
        (&[("STS_URL", "ftp://sts")], &["STS_URL"]),
        (&[("STS_URL", "sts:8080")], &["STS_URL"]),
        (
            &[("CARACAL_ENV", "production"), ("CARACAL_MODE", "dev")],
            &["CARACAL_MODE"],
        ),
        (
            &[("CARACAL_ENV", "production"), ("PORT", "8082")],
            &["PORT must be 8081"],
        ),
        (
            &[("CARACAL_MODE", "stable"), ("PORT", "8082")],
            &["PORT must be 8081"],
        ),
        (
            &[("CARACAL_MODE", "rc"), ("JTI_FAIL_OPEN", "true")],
            &["JTI_FAIL_OPEN"],
        ),
    ];
    let mut report = Report::default();
    for (changes, words) in cases {
        let finished = ground.production(changes).finish().await;
        report.note(format!("{changes:?}"), refuses(&finished, words));
    }
    // An unknown mode is refused, whatever else it leaves undecided.
    for mode in ["prod", "Production", "PRODUCTION", "staging", "development"] {
        for name in ["CARACAL_ENV", "CARACAL_MODE"] {
            let finished = ground.production(&[(name, mode)]).finish().await;
            report.equal(format!("{name}={mode}"), finished.code, REFUSED);
            let said = finished.stderr.join("\n");
            report.holds(format!("{name}={mode}: {said}"), said.contains(name));
        }
    }
    report.finish();
}

#[tokio::test]
async fn start_in_dev_lifts_the_checks_but_not_the_certificate_pair() {
    let ground = Ground::new();
    let certificate = ground.good.certificate.display().to_string();
    let mut report = Report::default();
    let cases: &[Case<'_>] = &[
        (&[("INSECURE_HTTP", "")], &[NO_PAIR]),
        (&[("INSECURE_HTTP", "false")], &[NO_PAIR]),
        (
            &[("INSECURE_HTTP", ""), ("TLS_CERT_FILE", &certificate)],
            &[HALF_PAIR],
        ),
        (
            &[("INSECURE_HTTP", ""), ("TLS_KEY_FILE", &certificate)],
            &[HALF_PAIR],
        ),
        // No backend is ever embedded because a variable is missing.
        (&[("REDIS_URL", "")], &["REDIS_URL"]),
        (&[("DATABASE_URL", "")], &["DATABASE_URL"]),
        (&[("STS_URL", "")], &["STS_URL"]),
        (&[("GATEWAY_STS_HMAC_KEY", "")], &["GATEWAY_STS_HMAC_KEY"]),
        (&[("STS_URL", "http://sts.example.com")], &["STS_URL"]),
        (&[("CARACAL_MODE", "stable")], &["CARACAL_MODE"]),
    ];
    for (changes, words) in cases {
        let finished = Ground::dev(changes).finish().await;
        report.note(format!("{changes:?}"), refuses(&finished, words));
    }
    // What development lifts is no violation any more; that it then runs is for the other tests to show. Here one
    // violation is left in, so that the process ends and names nothing else.
    let lifted: &[(&str, &str)] = &[
        ("INSECURE_STS", "true"),
        ("JTI_FAIL_OPEN", "true"),
        ("PORT", "18081"),
        ("ALLOW_PRIVATE_UPSTREAMS", "true"),
        ("STS_URL", "http://sts.example.com"),
        ("STREAMS_HMAC_KEY", "0011"),
        ("REDIS_URL", ""),
    ];
    let finished = Ground::dev(lifted).finish().await;
    report.note("everything lifted", refuses(&finished, &["REDIS_URL"]));
    report.finish();
}

#[tokio::test]
async fn start_with_many_violations_names_all_of_them_at_once() {
    let ground = Ground::new();
    let mut report = Report::default();
    let finished = ground
        .production(&[
            ("INSECURE_HTTP", "true"),
            ("INSECURE_STS", "true"),
            ("JTI_FAIL_OPEN", "true"),
            ("TLS_KEY_FILE", ""),
            ("PORT", "9000"),
            ("ALLOW_PRIVATE_UPSTREAMS", "true"),
            ("STREAMS_HMAC_KEY", "00"),
            ("REDIS_URL", ""),
            ("STS_TIMEOUT", "5"),
            ("MAX_REQUEST_BYTES", "0"),
        ])
        .finish()
        .await;
    let words = [
        "INSECURE_HTTP is",
        "INSECURE_STS",
        "JTI_FAIL_OPEN",
        HALF_PAIR,
        "PORT must be 8081",
        "UPSTREAM_HOST_ALLOWLIST",
        "STREAMS_HMAC_KEY",
        "REDIS_URL",
        "STS_TIMEOUT",
        "MAX_REQUEST_BYTES",
    ];
    report.note("ten at once", refuses(&finished, &words));
    let finished = Launch::new().finish().await;
    let words = [
        NO_PAIR,
        "DATABASE_URL",
        "REDIS_URL",
        "STS_URL",
        "STREAMS_HMAC_KEY",
        "AUDIT_HMAC_KEY",
        "GATEWAY_STS_HMAC_KEY",
    ];
    report.note("an empty environment", refuses(&finished, &words));
    let finished = Launch::new().arg("serve").finish().await;
    report.note("the command spelt out", refuses(&finished, &words));
    report.finish();
}

#[tokio::test]
async fn start_in_dev_with_lax_flags_warns_of_each_and_shows_it_as_a_gauge() {
    let world = World::start().await;
    let flags = [
        "INSECURE_HTTP",
        "INSECURE_STS",
        "JTI_FAIL_OPEN",
        "ALLOW_PRIVATE_UPSTREAMS",
    ];
    let lax = world
        .replica_with(&[("INSECURE_STS", "true"), ("JTI_FAIL_OPEN", "true")])
        .await;
    let mut report = Report::default();
    for (gateway, on) in [
        (&world.gateway, [true, false, false, true]),
        (&lax, [true, true, true, true]),
    ] {
        let metrics = testkit::http::get(gateway.addr(), "/metrics", &[]).await.text();
        for (flag, on) in flags.into_iter().zip(on) {
            let warned = gateway.log().iter().any(|line| {
                line["level"]
                    .as_str()
                    .is_some_and(|level| level.eq_ignore_ascii_case("warn"))
                    && line.to_string().contains(flag)
            });
            report.equal(format!("{flag}: warning"), warned, on);
            let gauge = metrics
                .lines()
                .find(|line| line.contains("lax") && line.contains(flag) && !line.starts_with('#'));
            let shown = gauge.and_then(|line| line.rsplit(' ').next());
            report.equal(format!("{flag}: gauge"), shown, Some(if on { "1" } else { "0" }));
        }
    }
    report.finish();
}
