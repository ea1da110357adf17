//! Secrets: from files, once, and never printed.

use super::{Ground, KEY, REFUSED, refuses};
use crate::report::Report;

#[tokio::test]
async fn secret_from_a_file_counts_and_twice_is_refused() {
    let ground = Ground::new();
    let mut report = Report::default();
    let key_file = ground.file("key", &format!("{KEY} \n\n"));
    let url_file = ground.file("url", "postgres://gateway:pw@127.0.0.1:1/caracal\n");
    let empty_file = ground.file("empty", "\n");
    for (name, file) in [
        ("STREAMS_HMAC_KEY", &key_file),
        ("AUDIT_HMAC_KEY", &key_file),
        ("GATEWAY_STS_HMAC_KEY", &key_file),
        ("DATABASE_URL", &url_file),
        ("METRICS_BEARER", &key_file),
        ("CARACAL_ADMIN_TOKEN", &key_file),
    ] {
        let from_file = format!("{name}_FILE");
        let launch = ground.production(&[(name, ""), (&from_file, file)]).arg("check");
        let finished = launch.finish().await;
        report.equal(
            format!("{from_file}: {:?}", finished.stderr),
            finished.code,
            Some(0),
        );
        let twice = ground
            .production(&[(name, KEY), (&from_file, file)])
            .finish()
            .await;
        report.note(format!("{name} twice"), refuses(&twice, &[&from_file]));
        let missing = ground
            .production(&[(name, ""), (&from_file, "/nowhere/secret")])
            .finish()
            .await;
        report.note(
            format!("{from_file} that is missing"),
            refuses(&missing, &[&from_file]),
        );
    }
    let empty = ground.production(&[("AUDIT_HMAC_KEY", ""), ("AUDIT_HMAC_KEY_FILE", &empty_file)]);
    let finished = empty.finish().await;
    report.equal("an empty file", finished.code, REFUSED);
    report.finish();
}

#[tokio::test]
async fn secret_that_is_malformed_is_never_printed() {
    let ground = Ground::new();
    let mut report = Report::default();
    let planted = "planted7secret";
    let in_url = format!("postgres://gateway:{planted}@");
    let in_redis = format!("http://:{planted}@redis");
    let in_sts = format!("http://user:{planted}@sts.example.com");
    let malformed = [
        ("STREAMS_HMAC_KEY", planted),
        ("AUDIT_HMAC_KEY", planted),
        ("GATEWAY_STS_HMAC_KEY", planted),
        ("DATABASE_URL", in_url.as_str()),
        ("REDIS_URL", in_redis.as_str()),
        ("STS_URL", in_sts.as_str()),
        ("CARACAL_ADMIN_TOKEN", planted),
        ("METRICS_BEARER", planted),
        // A secret put where a file is named is not repeated either.
        ("PORT", "1"),
    ];
    for arguments in [&["serve"][..], &["check"], &["--help"], &["serve", "--help"]] {
        let mut launch = ground.production(&malformed);
        for argument in arguments {
            launch = launch.arg(*argument);
        }
        let finished = launch.finish().await;
        let said = [finished.stdout, finished.stderr].concat().join("\n");
        report.holds(format!("{arguments:?} says something"), !said.is_empty());
        report.holds(
            format!("{arguments:?} keeps the secret: {said}"),
            !said.contains(planted),
        );
    }
    let misplaced = ground.production(&[("AUDIT_HMAC_KEY", ""), ("AUDIT_HMAC_KEY_FILE", planted)]);
    let said = misplaced.finish().await.stderr.join("\n");
    report.holds(
        format!("a secret as a file name is kept: {said}"),
        !said.is_empty() && !said.contains(planted),
    );
    report.finish();
}
