//! Connections whose protocol is switched: WebSocket and others, over HTTP/1.1 and HTTP/2.

mod ends;
mod gone;
mod http2;
mod page;
mod slow;
mod tls;

use crate::hand::{Call, HAND, HandUpstream, values};
use crate::report::{Report, refusal};
use crate::wire::head_with;
use crate::world::World;
use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use devstack::Minted;
use std::net::SocketAddr;
use testkit::http::{Connection, Ending, Head, Piece};
use tokio::task::JoinSet;

/// The key of RFC 6455 §1.3 and its proof.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
const UPGRADE: &str = "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";

fn proof(key: &str) -> String {
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()))
}

/// A switch to WebSocket for this key.
fn switch(key: &str, lines: &str) -> String {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {}\r\n{lines}\r\n",
        proof(key)
    )
}

/// A whole frame of a short text, of the caller's side or of the upstream's.
fn text_frame(text: &str, masked: bool) -> Vec<u8> {
    let length = u8::try_from(text.len()).expect("a short text");
    let mut frame = vec![0x81, if masked { 0x80 | length } else { length }];
    frame.extend(if masked { &[0; 4][..] } else { &[] });
    frame.extend(text.as_bytes());
    frame
}

/// A close frame of the gateway's: what the caller gets.
fn close_frame(status: u16, reason: &str) -> Vec<u8> {
    let length = u8::try_from(reason.len() + 2).expect("a short reason");
    [&[0x88, length], &status.to_be_bytes()[..], reason.as_bytes()].concat()
}

/// The same as an upstream gets it: its status and reason, where it is one masked frame.
fn unmasked(frame: &[u8]) -> Option<Vec<u8>> {
    let [0x88, length, a, b, c, d, payload @ ..] = frame else {
        return None;
    };
    let mask = [*a, *b, *c, *d];
    let plain: Vec<u8> = payload
        .iter()
        .zip(mask.iter().cycle())
        .map(|(byte, mask)| byte ^ mask)
        .collect();
    (usize::from(*length) == 0x80 | plain.len()).then(|| [&[0x88, *length & 0x7f][..], &plain].concat())
}

/// A connection of each side, switched.
struct Switched {
    caller: Connection,
    call: Call,
    head: Head,
    asked: String,
}

/// Asks for a WebSocket connection with this mandate and these further lines. Dropped, it is reset.
async fn ask(addr: SocketAddr, token: &str, lines: &str) -> Connection {
    let mut caller = Connection::open_abrupt(addr).await;
    let request = head_with(token, "GET", HAND, "/chat?q=1", &format!("{UPGRADE}{lines}"));
    caller.send(request).await.expect("an open connection");
    caller
}

impl Switched {
    async fn open(addr: SocketAddr, minted: &Minted, upstream: &mut HandUpstream, id: &str) -> Self {
        let lines = format!("X-Request-Id: {id}\r\n");
        let mut caller = ask(addr, minted.token.expose(), &lines).await;
        let mut call = tokio::select! {
            call = upstream.call() => call,
            head = caller.head() => panic!("{id}: {head:?}"),
        };
        let asked = call.head().await;
        call.send(switch(KEY, "")).await;
        let head = caller.head().await;
        Self {
            caller,
            call,
            head,
            asked,
        }
    }

    /// Reads so many bytes as the caller.
    async fn exactly(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < length {
            match self.caller.piece().await {
                Piece::Data(data) => bytes.extend(data),
                Piece::End(..) => return bytes,
            }
        }
        bytes
    }
}

/// What a caller gets until its connection ends, and how it ends.
async fn rest(caller: &mut Connection) -> (Vec<u8>, Ending) {
    let mut rest = Vec::new();
    loop {
        match caller.piece().await {
            Piece::Data(data) => rest.extend(data),
            Piece::End(ending, _) => return (rest, ending),
        }
    }
}

/// What each side is told of the other.
fn check_heads(open: &Switched, report: &mut Report) {
    let asked = |name: &str| values(&open.asked, name).join("|");
    report.holds(&open.asked, open.asked.starts_with("GET /chat?q=1 HTTP/1.1\r\n"));
    for (name, value) in [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-key", KEY),
        ("sec-websocket-version", "13"),
        ("content-length", ""),
        ("transfer-encoding", ""),
        ("x-caracal-resource", ""),
        ("authorization", ""),
    ] {
        report.equal(name, asked(name), value);
    }
    report.equal(
        "the switch",
        open.head.line.as_str(),
        "HTTP/1.1 101 Switching Protocols",
    );
    for (name, value) in [
        ("connection", Some("Upgrade")),
        ("upgrade", Some("websocket")),
        ("sec-websocket-accept", Some(ACCEPT)),
        ("x-request-id", Some("carried")),
        ("transfer-encoding", None),
        ("content-length", None),
    ] {
        report.equal(name, open.head.headers.get(name), value);
    }
}

/// How many bytes each side sees of what the other sends, and how the caller's connection ends.
async fn both_ways(open: Switched) -> Vec<(usize, Option<Ending>)> {
    let (up, down) = (vec![b'u'; 60_000], vec![b'd'; 80_000]);
    // Each side takes what the other sends while it sends itself.
    let Switched {
        mut caller, mut call, ..
    } = open;
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        caller.send(&up).await.expect("an open connection");
        caller.finish().await;
        let mut seen = 0;
        loop {
            match caller.piece().await {
                Piece::Data(data) => seen += data.len(),
                Piece::End(ending, _) => return (seen, Some(ending)),
            }
        }
    });
    tasks.spawn(async move {
        call.send(&down).await;
        let seen = call.until_end().await.len();
        // The caller has said all, and still reads.
        call.send("last").await;
        (seen, None)
    });
    let mut seen = tasks.join_all().await;
    seen.sort_unstable_by_key(|(length, _)| *length);
    seen
}

#[tokio::test]
async fn upgrade_passes_every_gate_and_carries_bytes_both_ways_until_both_sides_have_ended() {
    let mut upstream = HandUpstream::start().await;
    let world = World::builder().hand(&upstream).start().await;
    let mut report = Report::default();
    let minted = world.mint(HAND);
    let mut open = Switched::open(world.addr(), &minted, &mut upstream, "carried").await;
    check_heads(&open, &mut report);
    open.call.send(&text_frame("hello", false)).await;
    report.equal("first", open.exactly(7).await, text_frame("hello", false));
    open.caller
        .send(&text_frame("hi", true))
        .await
        .expect("an open connection");
    report.equal("answer", open.call.exactly(8).await, text_frame("hi", true));
    report.equal(
        "both ways",
        both_ways(open).await,
        [(60_000, None), (80_004, Some(Ending::Closed))],
    );

    let event = world.events_of("carried", 1).await.remove(0);
    report.equal("evidence", event.kind(), ("gateway_resource_request", "executed"));
    for (name, value) in [
        ("gateway_status", 101),
        ("upstream_status", 101),
        ("request_bytes", 60_008),
        ("response_bytes", 80_011),
    ] {
        report.equal(name, event.metadata(name).as_u64(), Some(value));
    }
    report.holds("once", event.metadata("attempts").is_null());
    let line = world
        .gateway
        .logged("the request", |line| line["request_id"] == "carried")
        .await;
    report.equal(
        "log",
        (&line["outcome"], line["bytes_in"].as_u64()),
        (&"allowed".into(), Some(60_008)),
    );
    report.equal(
        "metric",
        world.metric("caracal_gateway_upgrades_total").await,
        1.0,
    );
    let mut second = ask(world.addr(), minted.token.expose(), "").await;
    report.refused(
        "the mandate is spent",
        &second.response().await,
        refusal(401, "invalid_token", "token replay detected"),
    );
    report.holds("nothing of it crossed", upstream.is_quiet());
    report.finish();
}

#[tokio::test]
async fn upgrade_that_the_upstream_does_not_make_as_asked_is_none_and_nothing_behind_the_head_crosses() {
    let mut upstream = HandUpstream::start().await;
    let world = World::builder().hand(&upstream).start().await;
    let mut report = Report::default();
    let invalid = refusal(502, "internal_error", "upstream response invalid");
    let accept = format!("Sec-WebSocket-Accept: {ACCEPT}\r\n");
    let switch = "HTTP/1.1 101 Switching Protocols\r\n";
    let asked = "Connection: upgrade\r\nUpgrade: websocket\r\n";
    for (case, answer) in [
        ("no proof", format!("{switch}{asked}\r\n")),
        (
            "another proof",
            format!("{switch}{asked}Sec-WebSocket-Accept: {KEY}\r\n\r\n"),
        ),
        (
            "another protocol",
            format!("{switch}Connection: upgrade\r\nUpgrade: h2c\r\n{accept}\r\n"),
        ),
        ("no protocol", format!("{switch}{accept}\r\n")),
        (
            "a subprotocol of nobody",
            format!("{switch}{asked}{accept}Sec-WebSocket-Protocol: x\r\n\r\n"),
        ),
    ] {
        let mut caller = ask(
            world.addr(),
            &world.token(HAND),
            "Sec-WebSocket-Protocol: chat\r\n",
        )
        .await;
        caller
            .send(&text_frame("early", true))
            .await
            .expect("an open connection");
        let mut call = upstream.call().await;
        call.head().await;
        call.send(answer + "behind").await;
        report.refused(case, &caller.response().await, invalid);
        report.equal(case, call.until_end().await, b"");
    }
    // An answer like any other, and what the caller sent behind its head is a request of its own.
    for (case, answer, status) in [
        (
            "426",
            "HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nContent-Length: 2\r\n\r\nno",
            426,
        ),
        ("200", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno", 200),
    ] {
        let mut caller = ask(world.addr(), &world.token(HAND), "").await;
        let next = "GET /next HTTP/1.1\r\nHost: gateway.example\r\nX-Caracal-Resource: a\r\n\r\n";
        caller.send(next).await.expect("an open connection");
        let mut call = upstream.call().await;
        call.head().await;
        call.send(answer).await;
        let response = caller.response().await;
        report.equal(
            case,
            (response.status(), response.text()),
            (status, "no".to_owned()),
        );
        report.equal(case, response.head.headers.get("upgrade"), None);
        report.equal(case, caller.response().await.status(), 401);
        report.equal(case, call.until_end().await, b"");
    }
    report.finish();
}

#[tokio::test]
async fn upgrade_is_asked_of_the_upstream_only_for_a_protocol_that_is_allowed() {
    let mut upstream = HandUpstream::start().await;
    let world = World::builder()
        .hand(&upstream)
        .env("ALLOW_UPGRADES", "foo")
        .start()
        .await;
    let mut report = Report::default();
    for (case, lines, crosses) in [
        ("not named", UPGRADE, false),
        ("h2c", "Connection: Upgrade\r\nUpgrade: h2c\r\n", false),
        (
            "one of two",
            "Connection: Upgrade\r\nUpgrade: foo, h2c\r\n",
            false,
        ),
        (
            "a body",
            "Connection: Upgrade\r\nUpgrade: foo\r\nContent-Length: 0\r\n",
            false,
        ),
        ("not listed", "Connection: close\r\nUpgrade: foo\r\n", false),
        ("named", "Connection: UPGRADE\r\nUpgrade: Foo\r\n", true),
    ] {
        let mut caller = Connection::open(world.addr()).await;
        let request = head_with(&world.token(HAND), "GET", HAND, "/", lines);
        caller.send(request).await.expect("an open connection");
        let mut call = upstream.call().await;
        let asked = call.head().await;
        report.equal(case, !values(&asked, "upgrade").is_empty(), crosses);
        if crosses {
            let answer =
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: foo\r\n\r\nfirst";
            call.send(answer).await;
            report.equal(case, caller.head().await.status, 101);
            report.equal(case, caller.piece().await, Piece::Data(b"first".into()));
            caller.send("second").await.expect("an open connection");
            report.equal(case, call.exactly(6).await, b"second");
            drop(call);
            report.equal(
                case,
                caller.piece().await,
                Piece::End(Ending::Closed, testkit::http::Fields::default()),
            );
        } else {
            call.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                .await;
            report.equal(case, caller.response().await.status(), 200);
        }
    }
    report.finish();
}
