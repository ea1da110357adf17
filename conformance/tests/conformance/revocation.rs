//! What is revoked ends at once: requests to come, streams and uploads under way.

mod exchange;
mod messages;
mod snapshot;

use crate::frames::{self, Frames};
use crate::hand::{HAND, HandUpstream};
use crate::report::{Report, refusal};
use crate::wire::head_with;
use crate::world::{NONE, World, ZONE};
use devstack::{MintRequest, Minted};
use std::net::SocketAddr;
use std::time::Instant;
use testkit::http::{Connection, Ending, Fields, Piece, Response};

pub(crate) const REVOKE: &str = "caracal.sessions.revoke";
const AGENTS: &str = "caracal.agents.lifecycle";
const EDGES: &str = "caracal.delegations.invalidate";
/// An event stream that says one thing and is silent ever after.
const SILENT: &str = "/sse?ms=600000";
#[expect(clippy::disallowed_methods, reason = "the latency is measured and printed")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

async fn world(upstream: &HandUpstream) -> World {
    World::builder().hand(upstream).start().await
}

/// The anchor of a mandate that a message names.
type Anchor = fn(&Minted) -> &str;
/// What a service of the stack writes: what it means, the stream, fixed fields, and the field that names the anchor.
type Message = (
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
    &'static str,
    Anchor,
);

/// A silent stream of an HTTP/1.1 caller, whose first event has come.
async fn silent_stream(world: &World, minted: &Minted, lines: &str) -> Connection {
    silent_stream_at(world.addr(), minted.token.expose(), lines).await
}

/// The same at one gateway of several.
pub(crate) async fn silent_stream_at(addr: SocketAddr, token: &str, lines: &str) -> Connection {
    let mut client = Connection::open(addr).await;
    let request = head_with(token, "GET", NONE, SILENT, lines);
    client.send(request).await.expect("an open connection");
    let head = client.head().await;
    assert_eq!(head.status, 200, "{head:?}");
    assert!(matches!(client.piece().await, Piece::Data(_)), "the first event");
    client
}

/// A fresh mandate on the same authority.
pub(crate) fn again(world: &World, minted: &Minted) -> String {
    let request = MintRequest {
        sid: Some(minted.sid.clone()),
        root_sid: Some(minted.root_sid.clone()),
        agent_session_id: minted.agent_session_id.clone(),
        delegation_edge_id: minted.delegation_edge_id.clone(),
        ..world.stack.request_for(NONE)
    };
    let minted = world.stack.mint(&request).expect("a mandate");
    minted.token.expose().to_owned()
}

async fn present(world: &World, token: &str) -> Response {
    world.present(token, NONE, "/").await
}

fn session(minted: &Minted) -> &str {
    minted.agent_session_id.as_deref().expect("a governed session")
}

fn edge(minted: &Minted) -> &str {
    minted.delegation_edge_id.as_deref().expect("a delegation edge")
}

#[tokio::test]
async fn revocation_by_any_stream_and_anchor_ends_silent_streams_and_refuses_new_requests() {
    let upstream = HandUpstream::start().await;
    let world = world(&upstream).await;
    let mut report = Report::default();
    let revoked = refusal(401, "invalid_token", "session revoked");
    let sid: Anchor = |minted| &minted.sid;
    let messages: [Message; 9] = [
        (
            "authority record",
            REVOKE,
            &[("reason", "grant_revoked")],
            "session_id",
            sid,
        ),
        (
            "root of the authority record",
            REVOKE,
            &[],
            "session_id",
            |minted| &minted.root_sid,
        ),
        (
            "governed session",
            REVOKE,
            &[("reason", "")],
            "agent_session_id",
            session,
        ),
        ("delegation edge", REVOKE, &[], "delegation_edge_id", edge),
        ("delegation edge, short name", REVOKE, &[], "edge_id", edge),
        (
            "terminated session",
            AGENTS,
            &[("event", "terminate")],
            "agent_session_id",
            session,
        ),
        (
            "suspended session",
            AGENTS,
            &[("event", "suspend")],
            "agent_session_id",
            session,
        ),
        (
            "revoked edge",
            EDGES,
            &[("event", "edge_revoke"), ("epoch", "7")],
            "edge_id",
            edge,
        ),
        (
            "authority record, other anchors too",
            REVOKE,
            &[("agent_session_id", "x")],
            "session_id",
            sid,
        ),
    ];
    let mut latencies = Vec::new();
    for (number, (case, stream, fields, name, anchor)) in messages.into_iter().enumerate() {
        let with_trailer = number % 2 == 0;
        let lines = if with_trailer {
            "TE: trailers\r\nConnection: TE\r\n"
        } else {
            ""
        };
        let root = format!("root-{number}");
        let request = MintRequest {
            root_sid: Some(root),
            ..world.stack.request_for(NONE)
        };
        let minted = world.stack.mint(&request).expect("a mandate");
        let mut client = silent_stream(&world, &minted, lines).await;
        let mut fields = fields.to_vec();
        fields.extend([
            ("zone_id", ZONE),
            ("outbox_id", "018f7d6a"),
            (name, anchor(&minted)),
        ]);
        // A connection to Redis is made within the measured time too.
        let published = now();
        world.publish(stream, &fields).await;
        let ended = client.piece().await;
        latencies.push(published.elapsed());
        let trailer = Fields(vec![("x-caracal-revoked".into(), "true".into())]);
        match ended {
            Piece::End(Ending::Complete, trailers) if with_trailer => {
                report.equal(format!("{case}: trailers"), trailers, trailer);
            }
            Piece::End(Ending::Truncated | Ending::Reset, _) if !with_trailer => {}
            other => report.holds(format!("{case}: ended as {other:?}"), false),
        }
        report.refused(case, &present(&world, &again(&world, &minted)).await, revoked);
    }
    println!("from XADD to the end of the stream: {latencies:?}");

    // HTTP/2: RST_STREAM, for a call too whose answer is none of gRPC; the connection lives on.
    let mut client = Frames::open(world.addr()).await;
    let te = ("te", "trailers");
    let grpc = ("content-type", "application/grpc");
    for (stream, further) in [(1, vec![]), (3, vec![te]), (5, vec![te, grpc])] {
        let minted = world.mint(NONE);
        let request = frames::get(minted.token.expose(), stream, SILENT, &further);
        client.send(&[request]).await.expect("an open connection");
        let first = client
            .find(|frame| frame.kind == frames::DATA && frame.stream == stream)
            .await;
        report.holds(format!("h2 {stream}: the first event"), first.is_some());
        world
            .publish(REVOKE, &[("session_id", &minted.sid), ("zone_id", ZONE)])
            .await;
        let end = client.find(|frame| frame.stream == stream).await.expect("an end");
        report.equal(format!("h2 {stream}"), end.kind, frames::RST_STREAM);
    }
    report.finish();
}

#[tokio::test]
async fn revocation_ends_uploads_and_waits_for_answers() {
    let mut upstream = HandUpstream::start().await;
    let world = world(&upstream).await;
    let mut report = Report::default();
    let revoked = refusal(401, "invalid_token", "session revoked");
    for (case, lines, part, continues) in [
        (
            "upload in chunks",
            "Transfer-Encoding: chunked\r\n",
            "4\r\npart\r\n",
            true,
        ),
        ("upload with a length", "Content-Length: 100\r\n", "part", true),
        ("answer", "", "", false),
    ] {
        let minted = world.mint(HAND);
        let mut client = Connection::open(world.addr()).await;
        let method = if continues { "POST" } else { "GET" };
        let request = head_with(minted.token.expose(), method, HAND, "/", lines) + part;
        client.send(request).await.expect("an open connection");
        let mut call = upstream.call().await;
        call.head().await;
        if continues {
            call.through(b"part").await;
        }
        world
            .publish(REVOKE, &[("session_id", &minted.sid), ("zone_id", ZONE)])
            .await;
        let rest = call.until_end().await;
        report.holds(format!("{case}: not whole"), !rest.ends_with(b"0\r\n\r\n"));
        report.refused(case, &client.response().await, revoked);
    }

    // A length that was promised cannot be taken back with a trailer.
    let minted = world.mint(HAND);
    let mut client = Connection::open(world.addr()).await;
    let request = head_with(minted.token.expose(), "GET", HAND, "/", "TE: trailers\r\n");
    client.send(request).await.expect("an open connection");
    let mut call = upstream.call().await;
    call.head().await;
    call.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart")
        .await;
    client.head().await;
    report.equal(
        "fixed length",
        client.piece().await,
        Piece::Data(b"part".to_vec()),
    );
    world
        .publish(REVOKE, &[("session_id", &minted.sid), ("zone_id", ZONE)])
        .await;
    let end = client.piece().await;
    report.holds(
        format!("fixed length: {end:?}"),
        matches!(end, Piece::End(Ending::Truncated | Ending::Reset, _)),
    );

    // gRPC says it in its own words.
    let minted = world.mint(HAND);
    let mut client = Connection::open(world.addr()).await;
    let lines = "TE: trailers\r\nContent-Type: application/grpc\r\nContent-Length: 0\r\n";
    let request = head_with(minted.token.expose(), "POST", HAND, "/svc/Watch", lines);
    client.send(request).await.expect("an open connection");
    let mut call = upstream.call().await;
    call.head().await;
    call.send(
        "HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nTrailer: grpc-status\r\n\
         Transfer-Encoding: chunked\r\n\r\n4\r\npart\r\n",
    )
    .await;
    client.head().await;
    client.piece().await;
    world
        .publish(REVOKE, &[("session_id", &minted.sid), ("zone_id", ZONE)])
        .await;
    match client.piece().await {
        Piece::End(Ending::Complete, trailers) => {
            report.equal("gRPC", trailers.get("grpc-status"), Some("16"));
            report.equal("gRPC", trailers.get("x-caracal-revoked"), Some("true"));
        }
        other => report.holds(format!("gRPC: {other:?}"), false),
    }
    report.finish();
}
