//! The way to the STS over TLS, with the gateway's own certificate where the STS wants one.

use crate::report::{Report, refusal};
use crate::world::{NONE, World};
use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use std::path::Path;
use std::sync::Arc;
use testkit::tls::{Ca, Identity, TlsFront};

/// A TLS server that demands a client certificate of this authority.
fn demanding(ca: &Ca, identity: &Identity) -> ServerConfig {
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(ca.pem().as_bytes()).expect("a root");
    roots.add(root).expect("a root");
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .build()
        .expect("a verifier");
    let chain: Vec<_> = CertificateDer::pem_slice_iter(identity.certificate.as_bytes())
        .collect::<Result<_, _>>()
        .expect("a chain");
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).expect("a key");
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("default protocol versions")
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .expect("a certificate that fits its key")
}

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
            let front = TlsFront::start(target, demanding(&ca, &server)).await;
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
