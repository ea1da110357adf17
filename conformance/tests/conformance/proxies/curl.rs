//! curl, over both protocols.

use crate::report::Report;
use crate::world::{NONE, World};
use devstack::{MintRequest, Use};
use std::process::Command;

/// More than the megabyte from which on curl waits for a 100.
const UPLOAD: usize = 2_000_000;

/// What curl prints, and the status and the kind of content behind that.
async fn curl(url: String, token: &str, protocol: &str, arguments: &[&str]) -> String {
    let bearer = format!("Authorization: Bearer {token}");
    let mut command = Command::new("curl");
    command
        .args(["-sS", "--max-time", "20", "-w", "\n%{http_code} %{content_type}"])
        .args([protocol, "-H", &bearer, "-H"])
        .arg(format!("X-Caracal-Resource: {NONE}"))
        .args(arguments)
        .arg(url);
    // The upstream lives on this runtime.
    let output = tokio::task::spawn_blocking(move || command.output()).await;
    let output = output.expect("a thread").expect("curl");
    let printed = [output.stdout, output.stderr].concat();
    String::from_utf8(printed).expect("text")
}

#[tokio::test]
async fn proxies_curl_gets_the_same_over_both_protocols() {
    let world = World::builder()
        .stack(|stack| stack.accept_session_mandates = true)
        .start()
        .await;
    let mut report = Report::default();
    let request = MintRequest {
        mandate_use: Use::Session,
        ..world.stack.request_for(NONE)
    };
    let token = world.stack.mint(&request).expect("a mandate").token;
    let (echo, gateway) = (world.stack.upstream_url(), format!("http://{}", world.addr()));
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), vec![b'x'; UPLOAD]).expect("a file that can be written");
    let upload = format!("@{}", file.path().display());
    let chunked = "Transfer-Encoding: chunked";
    for (path, arguments) in [
        ("/bytes?n=100000", &[][..]),
        ("/chunked?n=3", &[]),
        ("/mirror", &["--data-binary", &upload]),
        ("/mirror", &["--data-binary", &upload, "-H", chunked]),
        ("/mirror", &["-X", "POST"]),
        ("/bytes?n=7", &["--head", "-o", "/dev/null"]),
        ("/status/204", &[]),
        ("/status/304", &[]),
        ("/status/418", &["-X", "DELETE"]),
        ("/sse?n=3&ms=20", &["-N"]),
    ] {
        let ask = |base: &str, protocol| curl(format!("{base}{path}"), token.expose(), protocol, arguments);
        let direct = ask(echo, "--http1.1").await;
        for protocol in ["--http1.1", "--http2-prior-knowledge"] {
            let through = ask(&gateway, protocol).await;
            let end = |text: &str| text[text.len().saturating_sub(60)..].to_owned();
            let found = match through == direct {
                true => Ok(()),
                false => Err(format!("{:?} instead of {:?}", end(&through), end(&direct))),
            };
            report.note(format!("{protocol} {path} {arguments:?}"), found);
        }
    }
    report.finish();
}
