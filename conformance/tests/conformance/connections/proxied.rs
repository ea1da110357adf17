//! The PROXY protocol: whose connection it is, as the proxy before the gateway says.

use crate::report::Report;
use crate::world::World;
use std::net::SocketAddr;
use testkit::gateway::Gateway;
use testkit::http::{Connection, Rest};
use testkit::wait::PATIENCE;

const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// A header of version 2: command, family and what follows.
fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).expect("a short header").to_be_bytes();
    [V2, &[command, family], &length, rest].concat()
}

/// The status of a request behind these bytes; none where the connection ends. The pieces are sent one by one.
async fn status(addr: SocketAddr, id: &str, pieces: &[&[u8]]) -> Option<u16> {
    let mut connection = Connection::open(addr).await;
    for piece in pieces {
        // The other end may have hung up, which the answer shows.
        let _ = connection.send(piece).await;
    }
    let _ = connection.send(request(id)).await;
    connection.try_head().await.ok().map(|head| head.status)
}

/// What it says of its way is believed where the connection is a trusted proxy's own.
fn request(id: &str) -> String {
    format!("GET /x HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 198.51.100.9\r\nX-Request-Id: {id}\r\n\r\n")
}

async fn client_ip(gateway: &Gateway, id: &str) -> String {
    let line = gateway
        .logged("the line of a request", |line| line["request_id"] == id)
        .await;
    line["client_ip"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn connection_behind_a_trusted_proxy_is_that_of_the_address_in_its_header() {
    let world = World::builder()
        .env("TRUSTED_PROXIES", "127.0.0.0/8")
        .env("PROXY_PROTOCOL", "optional")
        .start()
        .await;
    let strict = world.replica_with(&[("PROXY_PROTOCOL", "required")]).await;
    let mut report = Report::default();
    let four = [203, 0, 113, 8, 127, 0, 0, 1, 0x12, 0x67, 0x1f, 0x91];
    let mut six = [0; 36];
    six[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
    six[15] = 9;
    let with_more = [&four[..], &[4, 0, 3, 1, 2, 3]].concat();
    let long = [&four[..], &[4, 15, 0xff], &[0; 0xfff]].concat();
    let own = "198.51.100.9";
    for (case, header, expect) in [
        (
            "v1",
            b"PROXY TCP4 203.0.113.7 127.0.0.1 4711 8081\r\n".to_vec(),
            Some("203.0.113.7"),
        ),
        (
            "v1-6",
            b"PROXY TCP6 2001:db8::1 ::1 1 2\r\n".to_vec(),
            Some("2001:db8::1"),
        ),
        (
            "v1-mapped",
            b"PROXY TCP6 ::ffff:203.0.113.6 ::1 1 2\r\n".to_vec(),
            Some("203.0.113.6"),
        ),
        (
            "v1-unknown",
            b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".to_vec(),
            Some(own),
        ),
        ("v2", v2(0x21, 0x11, &four), Some("203.0.113.8")),
        ("v2-6", v2(0x21, 0x21, &six), Some("2001:db8::9")),
        ("v2-more", v2(0x21, 0x11, &with_more), Some("203.0.113.8")),
        ("v2-local", v2(0x20, 0, &[]), Some(own)),
        ("v2-local-family", v2(0x20, 0x11, &[]), Some(own)),
        ("v2-local-address", v2(0x20, 0x11, &four), Some(own)),
        ("v2-unspecified", v2(0x21, 0, &[]), Some(own)),
        ("v1-malformed", b"PROXY TCP4 203.0.113.7\r\n".to_vec(), None),
        (
            "v1-too-long",
            [&b"PROXY TCP4 "[..], &[b'1'; 200], b"\r\n"].concat(),
            None,
        ),
        ("v2-short", v2(0x21, 0x11, &four[..8]), None),
        ("v2-datagram", v2(0x21, 0x12, &four), None),
        ("v2-command", v2(0x22, 0x11, &four), None),
        ("v2-too-long", v2(0x21, 0x11, &long), None),
    ] {
        for (gateway, kind) in [(&world.gateway, "optional"), (&strict, "required")] {
            let id = format!("{case}-{kind}");
            let got = status(gateway.addr(), &id, &[&header]).await;
            report.equal(id.as_str(), got, expect.map(|_| 401));
            if let Some(address) = expect {
                report.equal(
                    format!("{id}: address"),
                    client_ip(gateway, &id).await,
                    address.to_owned(),
                );
            }
        }
    }
    // In pieces, which may arrive as such.
    let header = v2(0x21, 0x11, &four);
    let pieces = [&header[..1], &header[1..13], &header[13..20], &header[20..]];
    report.equal(
        "pieces",
        status(strict.addr(), "pieces", &pieces).await,
        Some(401),
    );
    report.equal(
        "pieces: address",
        client_ip(&strict, "pieces").await,
        "203.0.113.8".to_owned(),
    );

    report.equal(
        "none, optional",
        status(world.addr(), "none", &[]).await,
        Some(401),
    );
    report.equal(
        "none: address",
        client_ip(&world.gateway, "none").await,
        own.to_owned(),
    );
    report.equal("none, required", status(strict.addr(), "none", &[]).await, None);
    // It leaves a trace.
    strict
        .logged("a refusal", |line| {
            line["msg"] == "connection refused" && line["level"] == "warn"
        })
        .await;
    // Whoever is not named is not believed.
    let header = b"PROXY TCP4 203.0.113.7 127.0.0.1 4711 8081\r\n";
    // The header is no request, which whoever may send none is told; and a network may be written as mapped.
    for (kind, trusted, expect) in [
        ("required", "10.0.0.0/8", None),
        ("optional", "10.0.0.0/8", Some(400)),
        ("required", "::ffff:127.0.0.0/104", Some(401)),
    ] {
        let others = [("TRUSTED_PROXIES", trusted), ("PROXY_PROTOCOL", kind)];
        let gateway = world.replica_with(&others).await;
        let got = status(gateway.addr(), "untrusted", &[header]).await;
        report.equal(format!("{trusted}, {kind}"), got, expect);
    }
    // Places are counted by the address that is told.
    let narrow = world.replica_with(&[("MAX_CONNECTIONS_PER_SOURCE", "2")]).await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut connection = Connection::open(narrow.addr()).await;
        connection.send(header).await.expect("an open connection");
        connection
            .send(request("held"))
            .await
            .expect("an open connection");
        report.equal("a place", connection.head().await.status, 401);
        held.push(connection);
    }
    report.equal("no place", status(narrow.addr(), "third", &[header]).await, None);
    let other = b"PROXY TCP4 203.0.113.9 127.0.0.1 4711 8081\r\n";
    report.equal(
        "another's place",
        status(narrow.addr(), "other", &[other]).await,
        Some(401),
    );
    drop(held);
    // One that says nothing is not waited for without end.
    let hurried = world
        .replica_with(&[("PROXY_PROTOCOL", "required"), ("READ_HEADER_TIMEOUT", "200ms")])
        .await;
    let mut silent = Connection::open(hurried.addr()).await;
    silent.send(&V2[..5]).await.expect("an open connection");
    // What it sent is unread, so that the system may reset the connection.
    let end = silent.rest(PATIENCE).await;
    report.holds(
        format!("silent: {end:?}"),
        matches!(end, Rest::Closed | Rest::Reset),
    );
    report.finish();
}
