//! Which certificate a caller is shown, and which it may show.

use super::renewal::IN_USE;
use super::{NAME, is_ready};
use crate::report::Report;
use crate::wire::head;
use crate::world::{NONE, World};
use rustls::{ClientConfig, HandshakeKind};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use testkit::gateway::Signal;
use testkit::http::Connection;
use testkit::tls::{Ca, Identity, connect};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

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

/// What a caller with this certificate gets; none where the connection ends.
async fn with_certificate(
    addr: SocketAddr,
    server: &Ca,
    shown: Option<&Identity>,
    request: String,
) -> Option<u16> {
    let config = match shown {
        Some(identity) => server.client_config_as(identity, &["http/1.1"]),
        None => server.client_config(&["http/1.1"]),
    };
    // Over TLS 1.3 a client learns only with the answer that its certificate is not taken.
    let mut connection = Connection::over(connect(addr, NAME, config).await.ok()?);
    connection.send(request).await.ok()?;
    connection.try_head().await.ok().map(|head| head.status)
}

/// How the handshake went, and the status of a request behind it: sessions arrive before its answer.
async fn handshake(
    addr: SocketAddr,
    config: &Arc<ClientConfig>,
    before: &[u8],
    request: String,
) -> (Option<HandshakeKind>, u16) {
    let name = NAME.try_into().expect("a name");
    let mut stream = TcpStream::connect(addr).await.expect("a connection");
    stream.write_all(before).await.expect("an open connection");
    let stream = TlsConnector::from(Arc::clone(config)).connect(name, stream).await;
    let stream = stream.expect("TLS");
    let kind = stream.get_ref().1.handshake_kind();
    let status = Connection::over(Box::new(stream))
        .exchange(request)
        .await
        .status();
    (kind, status)
}

#[tokio::test]
async fn transport_tls_asks_callers_for_certificates_and_records_whose_they_are() {
    let (ca, clients, foreign) = (Ca::new(), Ca::new(), Ca::new());
    let directory = tempfile::tempdir().expect("a temporary directory");
    let files = ca.server(&[NAME]).write_to(directory.path());
    let authorities = directory.path().join("clients.pem");
    std::fs::write(&authorities, clients.pem()).expect("a written file");
    let mut world = World::builder()
        .production()
        .env("TLS_CERT_FILE", files.certificate.display().to_string())
        .env("TLS_KEY_FILE", files.key.display().to_string())
        .env("TLS_CLIENT_CA_FILE", authorities.display().to_string())
        .env("TLS_CLIENT_AUTH", "request")
        .start()
        .await;
    is_ready(&world, &ca).await;
    let demanding = world.replica_with(&[("TLS_CLIENT_AUTH", "")]).await;
    let mut report = Report::default();
    let (trusted, stranger) = (clients.client("agent"), foreign.client("agent"));
    for (what, shown, requested, required) in [
        ("none", None, Some(200), None),
        ("a trusted one", Some(&trusted), Some(200), Some(200)),
        ("a foreign one", Some(&stranger), None, None),
    ] {
        for (addr, expect) in [(world.addr(), requested), (demanding.addr(), required)] {
            let id = format!("{}-{}", what.replace(' ', "-"), addr.ip());
            let lines = format!("X-Request-Id: {id}\r\n");
            let request = head(&world, "GET", NONE, "/x", &lines);
            let got = with_certificate(addr, &ca, shown, request).await;
            report.equal(format!("{what} at {addr}"), got, expect);
        }
    }
    // Nobody is served by what was proved before: a certificate may have expired since.
    let config = Arc::new(ca.client_config_as(&trusted, &["http/1.1"]));
    for turn in ["first", "second"] {
        let request = head(&world, "GET", NONE, "/x", "");
        let (kind, status) = handshake(world.addr(), &config, b"", request).await;
        report.equal(
            format!("{turn}: whole handshake"),
            kind,
            Some(HandshakeKind::Full),
        );
        report.equal(format!("{turn}: status"), status, 200);
    }
    let with = format!("a-trusted-one-{}", world.addr().ip());
    let without = format!("none-{}", world.addr().ip());
    let line = world
        .gateway
        .logged("the line of a request", |line| {
            line["request_id"] == with.as_str()
        })
        .await;
    report.equal("log", line["client_certificate"].as_str(), Some("CN=test leaf"));
    let event = world.events_of(&with, 1).await.remove(0);
    let of_nobody = world.events_of(&without, 1).await.remove(0);
    let shown = |event: &crate::world::Event| event.metadata("client_certificate").clone();
    report.equal("evidence", shown(&event).as_str(), Some("CN=test leaf"));
    report.equal("evidence of nobody", shown(&of_nobody), serde_json::Value::Null);

    // A proxy that passes TLS on says whose connection it is before it.
    let proxied = world
        .replica_with(&[("PROXY_PROTOCOL", "required"), ("TRUSTED_PROXIES", "127.0.0.0/8")])
        .await;
    let request = head(&world, "GET", NONE, "/x", "X-Request-Id: proxied\r\n");
    let before = b"PROXY TCP4 203.0.113.7 127.0.0.1 4711 8081\r\n";
    let (_, status) = handshake(proxied.addr(), &config, before, request).await;
    report.equal("behind a proxy", status, 200);
    let line = proxied
        .logged("the line of a request", |line| line["request_id"] == "proxied")
        .await;
    report.equal("its address", line["client_ip"].as_str(), Some("203.0.113.7"));
    report.equal(
        "its certificate",
        line["client_certificate"].as_str(),
        Some("CN=test leaf"),
    );

    // Authorities that are withdrawn count no more.
    std::fs::write(&authorities, foreign.pem()).expect("a written file");
    world.gateway.signal(Signal::HUP);
    world
        .gateway
        .logged("the renewal", |line| line["msg"] == IN_USE)
        .await;
    for (what, shown, expect) in [("withdrawn", &trusted, None), ("new", &stranger, Some(200))] {
        let request = head(&world, "GET", NONE, "/x", "");
        let got = with_certificate(world.addr(), &ca, Some(shown), request).await;
        report.equal(what, got, expect);
    }
    report.finish();
}
