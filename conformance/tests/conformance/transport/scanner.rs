//! TLS as an independent scanner sees it; `scripts/tls-scan` brings that along.

use crate::world::World;
use std::path::Path;
use std::process::Command;

fn scanner(arguments: &[&str]) -> bool {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/tls_scan.py");
    let status = Command::new("python3")
        .args(["-W", "ignore"])
        .arg(script)
        .args(arguments)
        .status();
    status.expect("python3").success()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "scripts/tls-scan runs it: it needs sslyze"]
async fn transport_tls_satisfies_an_independent_scanner() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let files = directory.path().display().to_string();
    assert!(scanner(&["certificates", &files]), "certificates");
    let world = World::builder()
        .production()
        .env("TLS_CERT_FILE", format!("{files}/chain.crt"))
        .env("TLS_KEY_FILE", format!("{files}/leaf.key"))
        .start()
        .await;
    let address = world.addr().to_string();
    assert!(
        scanner(&["scan", &address, &files]),
        "see the lines that begin with FAIL"
    );
}
