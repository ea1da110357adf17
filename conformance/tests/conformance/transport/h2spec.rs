//! HTTP/2 as h2spec sees it, an independent suite that `scripts/http2-conformance` brings.

use super::{NAME, is_ready, production};
use crate::frames;
use crate::world::{NONE, World};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use testkit::http::Stream;
use testkit::tls::{Ca, connect};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinSet, spawn_blocking};

/// Fails where there is no TLS, and must: the port speaks HTTP/1.1 there too, which the case takes for a preface that is none,
/// and a 400 in HTTP/1.1 is how that ends.
const NOT_IN_PLAIN: [&str; 1] = ["http2/3.5: Sends invalid connection preface"];
/// May fail where the answer comes at once: the case fills the window of a stream whose request it leaves open. Where that has
/// been answered by then, the rest of the request is not wanted and the stream is over, so its windows count no more (RFC 9113 §5.1).
const RACES: [&str; 1] = [
    "http2/6.9.1: Sends multiple WINDOW_UPDATE frames increasing the flow control window to above 2^31-1 on a stream",
];

/// Where a case's own connection is led.
enum Behind {
    Plain(SocketAddr),
    Tls(SocketAddr, Box<Ca>),
}

#[tokio::test]
#[ignore = "needs h2spec, which scripts/http2-conformance brings"]
async fn http2_conformance_is_what_an_independent_suite_expects() {
    let plain = World::builder()
        .stack(|stack| stack.accept_session_mandates = true)
        .start()
        .await;
    let ca = Ca::new();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let secure = production(&ca.server(&[NAME]), directory.path()).await;
    is_ready(&secure, &ca).await;
    let mandate = plain.session_token(NONE);
    let mut relays = JoinSet::new();
    let plain_relay = relay(&mut relays, Behind::Plain(plain.addr()), &mandate).await;
    let tls_relay = relay(&mut relays, Behind::Tls(secure.addr(), Box::new(ca)), "").await;

    let mut wrong = Vec::new();
    for (form, addr, arguments) in [
        ("plain, the operator's", plain.addr(), &["-P", "/ready"][..]),
        ("plain, proxied", plain_relay, &["-P", "/bytes?n=1000000"]),
        (
            "TLS, the operator's",
            secure.addr(),
            &["-P", "/ready", "-t", "-k"],
        ),
        ("TLS, refused by the gates", tls_relay, &["-P", "/"]),
    ] {
        let (summary, failed) = h2spec(addr, arguments).await;
        println!("{form}: {summary}");
        let is_plain = form.starts_with("plain");
        let may_fail = |case: &str| {
            is_plain && NOT_IN_PLAIN.contains(&case) || !form.ends_with("proxied") && RACES.contains(&case)
        };
        let failed_all_the_same = failed.iter().filter(|case| !may_fail(case));
        wrong.extend(failed_all_the_same.map(|case| format!("{form}: failed: {case}")));
        let must_fail = NOT_IN_PLAIN.iter().filter(|_| is_plain);
        let passed = must_fail.filter(|case| !failed.iter().any(|failed| failed == *case));
        wrong.extend(passed.map(|case| format!("{form}: no longer fails: {case}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Runs the suite, and gives its own summary and the names of the cases that failed.
async fn h2spec(addr: SocketAddr, arguments: &[&str]) -> (String, Vec<String>) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("report.xml");
    let mut command = Command::new("h2spec");
    command
        .args(["--strict", "-o", "10", "-h", &addr.ip().to_string()])
        .args(["-p", &addr.port().to_string()])
        .args(arguments)
        .arg("-j")
        .arg(&file);
    let ran = spawn_blocking(move || command.output()).await.expect("a thread");
    let output = ran.expect("h2spec in PATH: run scripts/http2-conformance");
    let text = String::from_utf8_lossy(&output.stdout);
    let summary = text.trim_end().lines().next_back().unwrap_or_default();
    let report = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{error}: {text}"));
    let cases: Vec<&str> = report.split("<testcase ").skip(1).collect();
    assert!(cases.len() > 140, "{} cases: {text}", cases.len());
    let attribute = |case: &str, name: &str| {
        let (_, rest) = case.split_once(&format!("{name}=\"")).expect("an attribute");
        rest.split('"').next().unwrap_or_default().to_owned()
    };
    let failed = cases
        .iter()
        .filter(|case| case.contains("<failure") || case.contains("<error"));
    let named =
        failed.map(|case| format!("{}: {}", attribute(case, "package"), attribute(case, "classname")));
    (summary.to_owned(), named.collect())
}

/// Listens, and leads each connection there, with this mandate added to the first header block of each stream.
async fn relay(tasks: &mut JoinSet<()>, behind: Behind, mandate: &str) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .expect("a free port");
    let addr = listener.local_addr().expect("the address of a listener");
    let bearer = format!("Bearer {mandate}");
    let fields = frames::block(&[("authorization", &bearer), ("x-caracal-resource", NONE)]);
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((client, _)) = listener.accept().await {
            let server: Box<dyn Stream> = match &behind {
                Behind::Plain(addr) => Box::new(TcpStream::connect(addr).await.expect("the gateway")),
                Behind::Tls(addr, ca) => {
                    let config = ca.client_config(&["h2"]);
                    connect(*addr, NAME, config).await.expect("TLS")
                }
            };
            connections.spawn(lead(client, server, fields.clone()));
        }
    });
    addr
}

async fn lead(client: TcpStream, server: Box<dyn Stream>, fields: Vec<u8>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = tokio::io::split(server);
    let up = async {
        let whole = frames_with(&mut from_client, &mut to_server, &fields).await;
        // What is cut off by its sender is cut off here.
        let _ended = to_server.shutdown().await;
        whole
    };
    let down = tokio::io::copy(&mut from_server, &mut to_client);
    tokio::select! {
        _ = down => {}
        _ = async { up.await.ok(); std::future::pending::<()>().await } => {}
    }
}

async fn frames_with(
    client: &mut (impl AsyncReadExt + Unpin),
    server: &mut (impl AsyncWriteExt + Unpin),
    fields: &[u8],
) -> std::io::Result<()> {
    let mut preface = [0; 24];
    client.read_exact(&mut preface).await?;
    server.write_all(&preface).await?;
    let mut last = 0;
    while preface.starts_with(b"PRI * HTTP/2.0\r\n") {
        let mut head = [0; 9];
        client.read_exact(&mut head).await?;
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let mut payload = vec![0; length];
        client.read_exact(&mut payload).await?;
        const PADDED: u8 = 8;
        let ends_block = matches!(head[3], frames::HEADERS | frames::CONTINUATION)
            && head[4] & frames::END_HEADERS != 0
            && (head[3] == frames::CONTINUATION || head[4] & PADDED == 0);
        if ends_block && stream > last && length < 12_000 {
            last = stream;
            payload.extend_from_slice(fields);
            head[..3].copy_from_slice(&u32::try_from(payload.len()).expect("a frame").to_be_bytes()[1..]);
        }
        server.write_all(&[&head[..], &payload].concat()).await?;
        server.flush().await?;
    }
    tokio::io::copy(client, server).await.map(|_| ())
}
