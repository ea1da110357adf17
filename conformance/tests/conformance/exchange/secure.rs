//! The way to the STS over TLS, with the gateway's own certificate where the STS wants one.

use crate::report::{Report, refusal};
use crate::world::{NONE, World};
use std::path::Path;
use testkit::tls::{Ca, TlsFront};

fn text(path: &Path) -> String {
    path.display().to_string()
}

#[tokio::test]
async fn exchange_over_tls_trusts_the_named_authority_and_shows_its_own_certificate() {
    let ca = Ca::new();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let root = directory.path().join("ca.pem");
    std::fs::write(&root, ca.pem()).expect("a written file");
    let client = ca.client("gateway").write_to(directory.path());
    let server = ca.server(&["localhost", "127.0.0.1"]);
    let mut fronts = Vec::new();
    let world = World::builder()
        .env("STS_CA_FILE", text(&root))
        .env("STS_CLIENT_CERT_FILE", text(&client.certificate))
        .env("STS_CLIENT_KEY_FILE", text(&client.key))
        .start_with(async |stack, mut variables| {
            let target = stack.sts_url()["http://".len()..].parse().expect("an address");
            let front = TlsFront::start(target, server.demanding_config(&ca, &[])).await;
            variables.insert(
                "STS_URL".to_owned(),
                format!("https://localhost:{}", front.addr().port()),
            );
            fronts.push(front);
            variables
        })
        .await;
    let mut report = Report::default();
    report.status("with a certificate", &world.get(NONE, "/x").await, 200);

    // The same mandate service, met by gateways that lack one of the three.
    let keys = refusal(503, "authority_unavailable", "signing keys unavailable");
    let nobody = world
        .replica_with(&[("STS_CLIENT_CERT_FILE", ""), ("STS_CLIENT_KEY_FILE", "")])
        .await;
    let answer = crate::world::present_to(nobody.addr(), &world.token(NONE), NONE, "/x").await;
    report.refused("without a certificate", &answer, keys);
    let stranger = Ca::new();
    let other = directory.path().join("other.pem");
    std::fs::write(&other, stranger.pem()).expect("a written file");
    let distrustful = world.replica_with(&[("STS_CA_FILE", &text(&other))]).await;
    let answer = crate::world::present_to(distrustful.addr(), &world.token(NONE), NONE, "/x").await;
    report.refused("with another authority", &answer, keys);
    let port = fronts.first().expect("a front").addr().port();
    let misnamed = world
        .replica_with(&[("STS_URL", &format!("https://127.0.0.2:{port}"))])
        .await;
    let answer = crate::world::present_to(misnamed.addr(), &world.token(NONE), NONE, "/x").await;
    report.refused("under another name", &answer, keys);
    report.equal("dispatched", world.dispatched(), 1);
    report.finish();
}
