//! Bodies in both directions: their framing, their limits, and how much of them the gateway holds.

use crate::hand::{HAND, HandUpstream, values};
use crate::report::{Report, refusal};
use crate::wire::{ask, head, head_with};
use crate::world::{NONE, World};
use std::time::Duration;
use testkit::http::{Connection, Ending, Piece, Rest};
use testkit::wait::PATIENCE;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The limit of the small world.
const LIMIT: usize = 100_000;

async fn scene() -> (World, HandUpstream) {
    let upstream = HandUpstream::start().await;
    let world = World::builder()
        .hand(&upstream)
        .env("MAX_REQUEST_BYTES", LIMIT.to_string())
        .start()
        .await;
    (world, upstream)
}

#[tokio::test]
async fn crossing_upload_keeps_its_framing_and_its_limit() {
    let (world, mut upstream) = scene().await;
    let mut report = Report::default();
    let ok = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let too_large = refusal(413, "payload_too_large", "request body too large");

    for (case, method, lines, body, length, chunked) in [
        (
            "a length",
            "POST",
            "Content-Length: 5\r\n",
            "hello",
            Some("5"),
            false,
        ),
        (
            "an empty POST",
            "POST",
            "Content-Length: 0\r\n",
            "",
            Some("0"),
            false,
        ),
        (
            "chunks",
            "PUT",
            "Transfer-Encoding: chunked\r\n",
            "5\r\nhello\r\n0\r\n\r\n",
            None,
            true,
        ),
        (
            "chunks with GET",
            "GET",
            "Transfer-Encoding: chunked\r\n",
            "5\r\nhello\r\n0\r\n\r\n",
            None,
            true,
        ),
        ("a GET without a body", "GET", "", "", None, false),
        (
            "a compressed body",
            "POST",
            "Content-Encoding: gzip\r\nContent-Length: 3\r\n",
            "\x1fxy",
            Some("3"),
            false,
        ),
    ] {
        let request = head(&world, method, HAND, "/", lines) + body;
        let play = async {
            let mut call = upstream.call().await;
            let head = call.head().await;
            let arrived = match (length, chunked) {
                (_, true) => call.through(b"0\r\n\r\n").await,
                (Some(length), _) => call.exactly(length.parse().expect("a length")).await,
                _ => Vec::new(),
            };
            call.send(ok).await;
            (head, arrived)
        };
        let ((head, arrived), response) = tokio::join!(play, ask(world.addr(), &request));
        report.status(case, &response, 200);
        report.equal(
            format!("{case}: length"),
            values(&head, "content-length"),
            Vec::from_iter(length),
        );
        let coding: &[&str] = if chunked { &["chunked"] } else { &[] };
        report.equal(
            format!("{case}: coding"),
            values(&head, "transfer-encoding"),
            coding,
        );
        report.equal(case, String::from_utf8_lossy(&arrived), body);
    }

    // Expect is answered by the gateway, and only once somebody wants the body.
    let expecting = "Expect: 100-continue\r\nContent-Length: 5\r\nConnection: close\r\n";
    let response = ask(
        world.addr(),
        head_with("no.token.here", "POST", HAND, "/", expecting),
    )
    .await;
    report.status("refused before 100", &response, 401);
    report.equal("refused before 100", response.interim.len(), 0);
    let mut client = Connection::open(world.addr()).await;
    client
        .send(head(&world, "POST", HAND, "/", expecting))
        .await
        .expect("an open connection");
    let mut call = upstream.call().await;
    let head_seen = call.head().await;
    report.equal("expect stays here", values(&head_seen, "expect"), [""; 0]);
    client.send("hello").await.expect("an open connection");
    report.equal("after 100", call.exactly(5).await, b"hello");
    call.send(ok).await;
    let response = client.response().await;
    report.equal("100 was sent", response.interim.len(), 1);
    report.status("after 100", &response, 200);

    // The limit, declared and not.
    let declared = format!("Content-Length: {}\r\nExpect: 100-continue\r\n", LIMIT + 1);
    let token = world.token(HAND);
    let response = ask(world.addr(), head_with(&token, "POST", HAND, "/", &declared)).await;
    report.refused("declared too large", &response, too_large);
    report.equal("declared too large: no 100", response.interim.len(), 0);
    report.holds("declared too large: nothing dispatched", upstream.is_quiet());
    let mut client = Connection::open(world.addr()).await;
    let chunked = head_with(&token, "POST", HAND, "/", "Transfer-Encoding: chunked\r\n");
    client.send(chunked).await.expect("an open connection");
    let mut call = upstream.call().await;
    call.head().await;
    let chunk = format!("{LIMIT:x}\r\n{}\r\n1\r\nx\r\n", "x".repeat(LIMIT));
    // The gateway may hang up before it has taken the last byte.
    let (_, arrived, response) = tokio::join!(client.send(chunk), call.until_end(), world.get(NONE, "/"));
    report.refused("too large in chunks", &client.response().await, too_large);
    report.holds(
        "the upstream does not take it for whole",
        !arrived.ends_with(b"0\r\n\r\n"),
    );
    report.status("the gateway lives", &response, 200);

    // An upstream that answers early and hangs up ends the upload.
    let mut client = Connection::open(world.addr()).await;
    let early = head(&world, "POST", HAND, "/", "Content-Length: 1000\r\n") + "part";
    client.send(early).await.expect("an open connection");
    let mut call = upstream.call().await;
    call.head().await;
    call.exactly(4).await;
    call.send("HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 5\r\n\r\nearly")
        .await;
    let response = client.response().await;
    report.equal(
        "an early answer",
        (response.status(), response.text()),
        (403, "early".to_owned()),
    );
    drop(call);
    report.holds(
        "the rest of the upload is no request",
        !matches!(client.rest(Duration::from_millis(300)).await, Rest::Bytes(_)),
    );
    report.finish();
}

#[tokio::test]
async fn crossing_large_bodies_stream_in_bounded_memory() {
    const MEGABYTES: usize = 200;
    const SLACK: u64 = 48 * 1024 * 1024;
    let mut upstream = HandUpstream::start().await;
    let world = World::builder()
        .hand(&upstream)
        .env("MAX_REQUEST_BYTES", "1000000000")
        .start()
        .await;
    world.get(NONE, "/").await;
    let before = resident(world.gateway.pid());

    // Down.
    let mut client = Connection::open(world.addr()).await;
    let target = format!("/bytes?n={}", MEGABYTES * 1_000_000);
    client
        .send(head(&world, "GET", NONE, &target, ""))
        .await
        .expect("an open connection");
    client.head().await;
    let mut length = 0;
    loop {
        match client.piece().await {
            Piece::Data(data) => length += data.len(),
            Piece::End(ending, _) => {
                assert_eq!(ending, Ending::Complete);
                break;
            }
        }
    }
    assert_eq!(length, MEGABYTES * 1_000_000);

    // Up and down at once.
    let length = mirrored(&world, MEGABYTES / 2 * 1_000_000).await;
    assert_eq!(length, MEGABYTES / 2 * 1_000_000);

    // A caller that takes nothing holds the upstream back.
    let mut stuck = Vec::new();
    for line in ["", "Content-Type: text/event-stream\r\n"] {
        let mut client = Connection::open(world.addr()).await;
        client
            .send(head(&world, "GET", HAND, "/", ""))
            .await
            .expect("an open connection");
        let mut call = upstream.call().await;
        call.head().await;
        call.send(format!(
            "HTTP/1.1 200 OK\r\n{line}Transfer-Encoding: chunked\r\n\r\n"
        ))
        .await;
        let sent = until_stuck(&mut call).await;
        assert!(sent < 64, "{sent} MiB were taken for a caller that reads nothing");
        stuck.push((client, call, sent));
    }
    let peak = peak(world.gateway.pid());
    println!("resident: {before} bytes at first, {peak} at most");
    assert!(
        peak < before + SLACK,
        "resident: {before} bytes at first, {peak} at most"
    );
}

/// Sends this many bytes to `/mirror` in chunks while it reads them back, and gives how many came.
async fn mirrored(world: &World, length: usize) -> usize {
    const CHUNK: usize = 100_000;
    let stream = TcpStream::connect(world.addr()).await.expect("a connection");
    let (mut from, mut to) = stream.into_split();
    let lines = "Transfer-Encoding: chunked\r\nConnection: close\r\n";
    let head = head(world, "POST", NONE, "/mirror", lines);
    let up = async {
        to.write_all(head.as_bytes()).await?;
        let chunk = format!("{CHUNK:x}\r\n{}\r\n", "m".repeat(CHUNK));
        for _ in 0..length / CHUNK {
            to.write_all(chunk.as_bytes()).await?;
        }
        to.write_all(b"0\r\n\r\n").await
    };
    let down = async {
        let (mut count, mut buffer) = (0, vec![0; 256 * 1024]);
        while let Ok(read @ 1..) = from.read(&mut buffer).await {
            count += buffer[..read].iter().filter(|byte| **byte == b'm').count();
        }
        count
    };
    // A hundred megabytes take their time where nothing is quick.
    let (sent, count) = timeout(PATIENCE * 4, async { tokio::join!(up, down) })
        .await
        .expect("a mirrored body in time");
    sent.expect("an upload that is taken");
    count
}

/// Sends mebibytes until nobody takes them, and gives how many went.
async fn until_stuck(call: &mut crate::hand::Call) -> usize {
    let chunk = format!("100000\r\n{}\r\n", "x".repeat(1 << 20));
    for sent in 0..256 {
        if timeout(Duration::from_millis(500), call.try_send(&chunk))
            .await
            .is_err()
        {
            return sent;
        }
    }
    256
}

fn resident(pid: u32) -> u64 {
    memory(pid, "VmRSS:")
}

/// The most memory that a process held so far, in bytes.
pub(crate) fn peak(pid: u32) -> u64 {
    memory(pid, "VmHWM:")
}

fn memory(pid: u32, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the state of a child");
    let line = status.lines().find(|line| line.starts_with(name)).expect(name);
    let kibibytes: u64 = line
        .split_whitespace()
        .nth(1)
        .and_then(|text| text.parse().ok())
        .expect(line);
    kibibytes * 1024
}
