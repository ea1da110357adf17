//! The command `check`: the production checklist, without starting.

use super::{Ground, REFUSED};
use crate::report::Report;

#[tokio::test]
async fn check_prints_the_production_checklist_and_judges_it() {
    let ground = Ground::new();
    let mut report = Report::default();
    let good = ground.production(&[]).arg("check").finish().await;
    report.equal(
        format!("a good environment: {:?}", good.stderr),
        good.code,
        Some(0),
    );
    let words = |lines: &[String], word: &str| {
        lines
            .iter()
            .filter(|line| line.split_whitespace().next() == Some(word))
            .count()
    };
    // Eleven lines of the checklist, of which the two on network exposure cannot be proved by a process.
    report.equal("lines", good.stdout.len(), 11);
    report.equal("manual lines", words(&good.stdout, "manual"), 2);
    report.equal("failed lines", words(&good.stdout, "fail"), 0);
    for (changes, subject) in [
        (&[("CARACAL_ENV", "dev")][..], "CARACAL_ENV"),
        (&[("TLS_CERT_FILE", ""), ("TLS_KEY_FILE", "")], "certificate"),
        (&[("INSECURE_HTTP", "true")], "INSECURE_HTTP"),
        (&[("INSECURE_STS", "true")], "INSECURE_STS"),
        (&[("JTI_FAIL_OPEN", "true")], "JTI_FAIL_OPEN"),
        (&[("STREAMS_HMAC_KEY", "00")], "STREAMS_HMAC_KEY"),
        (&[("ALLOW_PRIVATE_UPSTREAMS", "true")], "ALLOW_PRIVATE_UPSTREAMS"),
        (&[("ALLOW_PRIVATE_UPSTREAMS", "true")], "UPSTREAM_HOST_ALLOWLIST"),
    ] {
        let finished = ground.production(changes).arg("check").finish().await;
        report.equal(format!("{changes:?}"), finished.code, REFUSED);
        let failed = finished
            .stdout
            .iter()
            .any(|line| line.starts_with("fail") && line.contains(subject));
        report.holds(
            format!("{changes:?} fails {subject}: {:?}", finished.stdout),
            failed,
        );
    }
    // What the checklist does not name is judged too.
    let finished = ground
        .production(&[("STS_TIMEOUT", "soon")])
        .arg("check")
        .finish()
        .await;
    report.equal("another violation", finished.code, REFUSED);
    report.holds(
        "it is named",
        finished.stderr.iter().any(|line| line.contains("STS_TIMEOUT")),
    );
    let finished = ground
        .production(&[("PORT", "8081"), ("UNKNOWN_VARIABLE", "x")])
        .arg("check")
        .finish()
        .await;
    report.equal("a foreign variable is nobody's business", finished.code, Some(0));
    report.finish();
}

#[tokio::test]
async fn check_and_serve_judge_the_address_of_redis_alike() {
    let ground = Ground::new();
    let mut report = Report::default();
    for url in [
        "redis://redis/abc",
        "redis://redis/-1",
        "redis://:s3cr/et@redis",
        "unix://:s3cr@/run/redis.sock",
        "redis-sentinel://sentinel/0",
        "redis-cluster://redis/1",
    ] {
        for command in ["check", "serve"] {
            let finished = ground
                .production(&[("REDIS_URL", url)])
                .arg(command)
                .finish()
                .await;
            let said = finished.stderr.join("\n");
            report.equal(format!("{command} {url}: {said}"), finished.code, REFUSED);
            report.holds(format!("{url} is named: {said}"), said.contains("REDIS_URL"));
            report.holds(format!("{url} is hidden: {said}"), !said.contains("s3cr"));
        }
    }
    for url in [
        "redis-sentinel://sentinel/0?service=caracal",
        "redis-cluster://node,node2:7000",
    ] {
        let finished = ground
            .production(&[("REDIS_URL", url)])
            .arg("check")
            .finish()
            .await;
        report.equal(format!("{url} without confirmations"), finished.code, Some(0));
        let warned = |line: &String| line.starts_with("warning: ") && line.contains("REPLAY_MIN_REPLICAS");
        report.holds(
            format!("a warning: {:?}", finished.stderr),
            finished.stderr.iter().any(warned),
        );
    }
    report.finish();
}

#[tokio::test]
async fn check_and_serve_judge_the_directory_of_the_spool_alike() {
    let ground = Ground::new();
    let file = ground.file("file", "");
    let below = format!("{file}/below");
    let mut report = Report::default();
    for directory in [&file, &below, "/proc/nowhere/spool"] {
        for command in ["check", "serve"] {
            let finished = ground
                .production(&[("AUDIT_REPLAY_DIR", directory)])
                .arg(command)
                .finish()
                .await;
            let said = finished.stderr.join("\n");
            report.equal(format!("{command} {directory}: {said}"), finished.code, REFUSED);
            let told = said.contains("AUDIT_REPLAY_DIR") && said.contains("may write to");
            report.holds(format!("{directory}: setting and fix: {said}"), told);
        }
    }
    let spool = ground.directory.path().join("deep");
    let inner = spool.join("spool").display().to_string();
    let finished = ground
        .production(&[("AUDIT_REPLAY_DIR", &inner)])
        .arg("check")
        .finish()
        .await;
    report.equal("one that can be made", finished.code, Some(0));
    report.holds("nothing is left behind", !spool.exists());
    report.finish();
}
