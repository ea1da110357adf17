//! Which certificate a caller is shown, and which it may show.

use super::renewal::IN_USE;
use super::{NAME, is_ready};
use crate::report::Report;
use crate::world::World;
use std::net::SocketAddr;
use std::path::Path;
use testkit::gateway::Signal;
use testkit::tls::{Ca, Identity, connect};

fn write(directory: &Path, stem: &str, pair: &Identity) {
    std::fs::write(directory.join(format!("{stem}.crt")), &pair.certificate).expect("a written file");
    std::fs::write(directory.join(format!("{stem}.key")), &pair.key).expect("a written file");
}

/// Whether a caller who asks for this name is shown a certificate of this authority that holds it.
async fn is_shown(addr: SocketAddr, ca: &Ca, name: &str) -> bool {
    connect(addr, name, ca.client_config(&[])).await.is_ok()
}

#[tokio::test]
async fn transport_tls_shows_the_certificate_of_the_name_that_is_asked_for() {
    let (default, named) = (Ca::new(), Ca::new());
    let directory = tempfile::tempdir().expect("a temporary directory");
    let files = default.server(&[NAME, "127.0.0.1"]).write_to(directory.path());
    let pairs = directory.path().join("pairs");
    std::fs::create_dir(&pairs).expect("a new directory");
    write(&pairs, "exact", &named.server(&["a.example"]));
    write(&pairs, "wild", &named.server(&["*.b.example"]));
    let mut world = World::builder()
        .production()
        .env("TLS_CERT_FILE", files.certificate.display().to_string())
        .env("TLS_KEY_FILE", files.key.display().to_string())
        .env("TLS_CERT_DIR", pairs.display().to_string())
        .start()
        .await;
    is_ready(&world, &default).await;
    let addr = world.addr();
    let mut report = Report::default();
    for (ca, name, shown) in [
        (&default, NAME, true),
        // An address is no name (RFC 6066 §3).
        (&default, "127.0.0.1", true),
        (&named, "a.example", true),
        (&named, "A.Example", true),
        (&default, "a.example", false),
        (&named, "x.b.example", true),
        (&named, "b.example", false),
        (&named, "y.x.b.example", false),
        (&named, "c.example", false),
    ] {
        report.equal(name, is_shown(addr, ca, name).await, shown);
    }
    write(&pairs, "new", &named.server(&["c.example"]));
    world.gateway.signal(Signal::HUP);
    world
        .gateway
        .logged("the renewal", |line| line["msg"] == IN_USE)
        .await;
    report.equal("a new pair", is_shown(addr, &named, "c.example").await, true);
    report.equal("one from before", is_shown(addr, &named, "a.example").await, true);
    report.finish();
}
