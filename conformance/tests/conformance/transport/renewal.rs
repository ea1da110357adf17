//! Certificates that change while callers are served.

use super::{NAME, is_ready, production};
use crate::report::Report;
use crate::world::{NONE, World};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use testkit::gateway::{Gateway, Signal};
use testkit::http::Connection;
use testkit::tls::{Ca, connect};
use testkit::wait::until;

/// What the gateway says when a change is in use.
pub(super) const IN_USE: &str = "a certificate, key or authority that changed on disk is in use";
const REFUSED: &str = "a certificate, key or authority on disk cannot be used; what was in use before stays";
const RELOADS: usize = 50;

async fn reaches(addr: SocketAddr, ca: &Ca, path: &str, lines: &str) -> Option<u16> {
    let stream = connect(addr, NAME, ca.client_config(&["http/1.1"])).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n{lines}\r\n");
    Some(Connection::over(stream).exchange(request).await.status())
}

/// Waits until the gateway has said this once more.
async fn said(gateway: &Gateway, from: &mut usize, what: &str) {
    until(what, async || {
        let lines = gateway.stderr_after(*from);
        let at = lines.iter().position(|line| line.contains(what))?;
        *from += at + 1;
        Some(())
    })
    .await;
}

#[tokio::test]
async fn renewal_fifty_times_under_load_loses_no_request_and_a_broken_pair_changes_nothing() {
    let (first, last) = (Ca::new(), Ca::new());
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut world = production(&first.server(&[NAME]), directory.path()).await;
    is_ready(&world, &first).await;
    let mut report = Report::default();
    let (stop, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    let (addr, mut from) = (world.addr(), 0);
    let World { gateway, stack, .. } = &mut world;

    let reload = async {
        for _ in 0..RELOADS {
            first.server(&[NAME]).write_to(directory.path());
            gateway.signal(Signal::HUP);
            said(gateway, &mut from, IN_USE).await;
        }
        stop.store(true, Ordering::Relaxed);
    };
    let load = async || {
        let mut failed = Vec::new();
        let stream = connect(addr, NAME, first.client_config(&["http/1.1"])).await;
        let mut kept = Connection::over(stream.expect("TLS"));
        let health = format!("GET /health HTTP/1.1\r\nHost: {NAME}\r\n\r\n");
        while !stop.load(Ordering::Relaxed) {
            let minted = stack.mint(&stack.request_for(NONE)).expect("a mandate");
            let token = minted.token.expose();
            let mandate = format!("Authorization: Bearer {token}\r\nX-Caracal-Resource: {NONE}\r\n");
            let answers = [
                reaches(addr, &first, "/x", &mandate).await,
                reaches(addr, &first, "/health", "").await,
                Some(kept.exchange(&health).await.status()),
            ];
            served.fetch_add(answers.len(), Ordering::Relaxed);
            failed.extend(answers.into_iter().filter(|status| *status != Some(200)));
        }
        failed
    };
    let ((), one, two) = tokio::join!(reload, load(), load());
    report.equal("lost", [one, two].concat(), Vec::new());
    let served = served.into_inner();
    report.holds(format!("{served} requests"), served > RELOADS);

    // Half a pair stays on disk: callers see the old one, the operator an alarm.
    let other = last.server(&[NAME]);
    std::fs::write(directory.path().join("certificate.pem"), &other.certificate).expect("a written file");
    world.gateway.signal(Signal::HUP);
    said(&world.gateway, &mut from, REFUSED).await;
    report.equal(
        "with half a pair",
        reaches(addr, &first, "/health", "").await,
        Some(200),
    );
    let checks = ready(addr, &first).await;
    report.equal("state", checks["state"].as_str(), Some("degraded"));
    report.equal("cause", checks["cause"].as_str(), Some("renewal_refused"));
    // Its other half ends that, without anybody asking.
    std::fs::write(directory.path().join("key.pem"), &other.key).expect("a written file");
    said(&world.gateway, &mut from, IN_USE).await;
    report.equal(
        "with the whole pair",
        reaches(addr, &last, "/health", "").await,
        Some(200),
    );
    report.equal("the old one", reaches(addr, &first, "/health", "").await, None);
    report.equal("state", ready(addr, &last).await["state"].as_str(), Some("ok"));
    world.gateway.terminate();
    report.finish();
}

/// What `/ready` says of certificates.
async fn ready(addr: SocketAddr, ca: &Ca) -> serde_json::Value {
    let stream = ca.connect(addr, NAME).await;
    let request = format!("GET /ready HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n");
    Connection::over(stream).exchange(request).await.json()["checks"]["certificates"].clone()
}
