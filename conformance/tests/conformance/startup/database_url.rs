//! The parameters of `DATABASE_URL`: `check` and `serve` say the same of each.

use super::{Ground, REFUSED, refuses};
use crate::report::Report;
use crate::world::World;
use testkit::http;
use testkit::wait::until;

#[tokio::test]
async fn parameters_that_check_accepts_are_served_with() {
    let ground = Ground::new();
    let world = World::start().await;
    let mut report = Report::default();
    for (parameters, noted) in [
        ("search_path=public&statement_timeout=20s&caracal.zone_id=*", None),
        (
            "fallback_application_name=gateway&target_session_attrs=read-write",
            None,
        ),
        (
            "options=-c%20jit%3Doff&application_name=gateway&lock_timeout=5s",
            None,
        ),
        ("gssencmode=prefer", Some("gssencmode")),
        (
            "keepalives_count=3&tcp_user_timeout=20000",
            Some("keepalives_count"),
        ),
        (
            "target_session_attrs=prefer-standby&pool_max_conns=4",
            Some("pool_max_conns"),
        ),
    ] {
        let url = format!("{}?{parameters}", world.variable("DATABASE_URL"));
        let checked = ground
            .production(&[("DATABASE_URL", &url)])
            .arg("check")
            .finish()
            .await;
        report.equal(
            format!("{parameters}: {:?}", checked.stderr),
            checked.code,
            Some(0),
        );
        let told = checked.stderr.join("\n");
        report.holds(
            format!("{parameters}: {told}"),
            noted.map_or(told.is_empty(), |name| told.contains(name)),
        );
        let replica = world.replica_with(&[("DATABASE_URL", &url)]).await;
        until(&format!("{parameters} to be served with"), async || {
            (http::get(replica.addr(), "/ready", &[]).await.status() == 200).then_some(())
        })
        .await;
    }
    report.finish();
}

#[tokio::test]
async fn parameters_that_serve_refuses_are_refused_by_check_in_the_same_words() {
    let ground = Ground::new();
    let mut report = Report::default();
    for (parameters, word) in [
        ("nonsense=1", "the parameter nonsense"),
        ("gssencmode=require", "the parameter gssencmode"),
        ("sslcrl=/ca.crl", "the parameter sslcrl"),
        ("target_session_attrs=maybe", "the parameter target_session_attrs"),
        ("sslcert=/c.pem", "the parameter sslcert"),
        ("sslcert=/no/c.pem&sslkey=/no/k.pem", "sslcert in DATABASE_URL"),
        (
            "sslmode=verify-full&sslrootcert=/no/ca.pem",
            "sslrootcert in DATABASE_URL",
        ),
    ] {
        let url = format!("postgres://gateway:pw@127.0.0.1:1/caracal?{parameters}");
        let launch = || ground.production(&[("DATABASE_URL", &url)]);
        let served = launch().finish().await;
        report.note(format!("serve {parameters}"), refuses(&served, &[word]));
        let checked = launch().arg("check").finish().await;
        report.equal(format!("check {parameters}"), checked.code, REFUSED);
        report.equal(
            format!("the words for {parameters}"),
            &checked.stderr,
            &served.stderr,
        );
    }
    report.finish();
}
