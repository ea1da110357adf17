//! The way to upstreams over TLS: whom the gateway trusts there, and what it shows.

use super::renewal::IN_USE;
use crate::crossing::resource_at;
use crate::hand::{HAND, HandUpstream};
use crate::report::{Report, refusal};
use crate::wire::head;
use crate::world::World;
use devstack::Target;
use testkit::gateway::Signal;
use testkit::tls::{Ca, TlsFront};

/// Another upstream than [`HAND`].
const OTHER: &str = "resource://other";
const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";

#[tokio::test]
async fn upstream_tls_trusts_named_authorities_and_the_systems_and_shows_the_gateways_certificate() {
    let (ca, system) = (Ca::new(), Ca::new());
    let directory = tempfile::tempdir().expect("a temporary directory");
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).expect("a written file");
        path.display().to_string()
    };
    let (named, of_system) = (write("ca.pem", ca.pem()), write("system.pem", system.pem()));
    let client = ca.client("gateway").write_to(directory.path());
    let mut upstream = HandUpstream::start().await;
    // One demands a certificate, the other is known to the system alone.
    let demanding = ca.server(&["localhost"]).demanding_config(&ca, &["http/1.1"]);
    let public = system.server(&["localhost"]).server_config(&["http/1.1"]);
    let demanding = TlsFront::start(upstream.addr(), demanding).await;
    let public = TlsFront::start(upstream.addr(), public).await;
    let at = |front: &TlsFront| Target::Url(format!("https://localhost:{}/", front.addr().port()));
    let resources = [resource_at(HAND, at(&demanding)), resource_at(OTHER, at(&public))];
    let world = World::builder()
        .stack(|stack| stack.resources.extend(resources))
        .env("UPSTREAM_CA_FILE", &named)
        .env(
            "UPSTREAM_CLIENT_CERT_FILE",
            client.certificate.display().to_string(),
        )
        .env("UPSTREAM_CLIENT_KEY_FILE", client.key.display().to_string())
        .env("SSL_CERT_FILE", &of_system)
        .start()
        .await;
    let mut report = Report::default();
    for resource in [HAND, OTHER] {
        let request = head(&world, "GET", resource, "/", "");
        let answer = upstream.answer(world.addr(), request, ANSWER).await;
        report.equal(resource, (answer.status(), answer.text()), (200, "ok".to_owned()));
    }
    let unreachable = refusal(502, "internal_error", "upstream unreachable");
    for (what, changes) in [
        (
            "without a certificate",
            &[
                ("UPSTREAM_CLIENT_CERT_FILE", ""),
                ("UPSTREAM_CLIENT_KEY_FILE", ""),
            ][..],
        ),
        ("without the authority", &[("UPSTREAM_CA_FILE", "")]),
    ] {
        let other = world.replica_with(changes).await;
        let answer = crate::world::present_to(other.addr(), &world.token(HAND), HAND, "/").await;
        report.refused(what, &answer, unreachable);
        // What only the system knows is reached all the same.
        let request = head(&world, "GET", OTHER, "/", "");
        let answer = upstream.answer(other.addr(), request, ANSWER).await;
        report.status(format!("{what}, the other"), &answer, 200);
    }
    // Authorities that change on disk hold from the next connection on.
    let own = write("own.pem", Ca::new().pem());
    let mut renewed = world.replica_with(&[("UPSTREAM_CA_FILE", &own)]).await;
    let answer = crate::world::present_to(renewed.addr(), &world.token(HAND), HAND, "/").await;
    report.refused("before the change", &answer, unreachable);
    write("own.pem", ca.pem());
    renewed.signal(Signal::HUP);
    renewed.logged("the renewal", |line| line["msg"] == IN_USE).await;
    let answer = upstream
        .answer(renewed.addr(), head(&world, "GET", HAND, "/", ""), ANSWER)
        .await;
    report.status("after the change", &answer, 200);

    let half = world.failed_start(&[("UPSTREAM_CLIENT_KEY_FILE", "")]).await;
    let said = "gateway config: UPSTREAM_CLIENT_CERT_FILE and UPSTREAM_CLIENT_KEY_FILE must both be set";
    report.equal("half a pair", half.code, Some(78));
    report.holds(
        format!("half a pair: {:?}", half.stderr),
        half.stderr.iter().any(|line| line == said),
    );
    report.finish();
}
