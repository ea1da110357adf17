//! How switched connections end.

use super::*;
use crate::revocation::{REVOKE, now};
use crate::world::ZONE;
use testkit::wait::until;

/// `frames` of an upstream that lie with its caller when its authority is revoked; what the caller and the upstream get then.
type Case = (&'static str, Vec<u8>, Vec<u8>, bool, bool);

async fn revoke(world: &World, minted: &Minted) {
    let fields = [("session_id", minted.sid.as_str()), ("zone_id", ZONE)];
    world.publish(REVOKE, &fields).await;
}

#[tokio::test]
async fn upgrade_ends_at_once_with_its_authority_and_in_words_where_a_frame_may_come() {
    let mut upstream = HandUpstream::start().await;
    let world = World::builder().hand(&upstream).start().await;
    let mut report = Report::default();
    let mut latencies = Vec::new();
    let whole = text_frame("hello", false);
    let told = close_frame(1008, "session revoked");
    let cases: [Case; 5] = [
        ("silent", Vec::new(), Vec::new(), true, true),
        (
            "between frames",
            whole.clone(),
            text_frame("up", true),
            true,
            true,
        ),
        ("within a frame", whole[..4].to_vec(), Vec::new(), false, true),
        (
            "within the caller's frame",
            whole,
            text_frame("up", true)[..5].to_vec(),
            true,
            false,
        ),
        ("behind a close frame", vec![0x88, 0], Vec::new(), false, true),
    ];
    for (number, (case, given, sent, caller_is_told, upstream_is_told)) in cases.into_iter().enumerate() {
        let minted = world.mint(HAND);
        let id = format!("revoked-{number}");
        let mut open = Switched::open(world.addr(), &minted, &mut upstream, &id).await;
        open.call.send(&given).await;
        open.caller.send(&sent).await.expect("an open connection");
        report.equal(case, open.exactly(given.len()).await, given);
        report.equal(case, open.call.exactly(sent.len()).await, sent);
        // A connection to Redis is made within the measured time too.
        let published = now();
        revoke(&world, &minted).await;
        let (rest, ending) = rest(&mut open.caller).await;
        latencies.push(published.elapsed());
        report.equal(case, rest, if caller_is_told { told.clone() } else { Vec::new() });
        report.holds(
            format!("{case}: {ending:?}"),
            ending != Ending::Reset || !caller_is_told,
        );
        let words = open.call.until_end().await;
        report.equal(case, unmasked(&words), upstream_is_told.then(|| told.clone()));
        drop(open);
        let event = world.events_of(&id, 1).await.remove(0);
        report.equal(case, event.text("evaluation_status"), "executed");
        report.equal(case, event.metadata("revocation_interrupted"), true);
    }
    println!("from XADD to the end of the connection: {latencies:?}");
    report.finish();
}

/// A connection through which nothing goes.
async fn silent(world: &World, upstream: &mut HandUpstream, report: &mut Report) {
    let mut impatient = world.replica_with(&[("STREAM_IDLE_TIMEOUT", "400ms")]).await;
    let mut open = Switched::open(impatient.addr(), &world.mint(HAND), upstream, "silent").await;
    let told = close_frame(1001, "connection silent");
    report.equal(
        "silent",
        rest(&mut open.caller).await,
        (told.clone(), Ending::Closed),
    );
    report.equal("silent", unmasked(&open.call.until_end().await), Some(told));
    drop(open);
    impatient.terminate();
    report.equal("silent", impatient.wait().await.code(), Some(0));
}

const IN_FLIGHT: &str = "caracal_gateway_requests_in_flight";

#[tokio::test]
async fn upgrade_ends_for_silence_for_a_caller_that_stalls_and_when_a_side_breaks_and_holds_its_place_until_then()
 {
    let mut upstream = HandUpstream::start().await;
    let world = World::builder().hand(&upstream);
    let mut world = world.env("WRITE_TIMEOUT", "400ms").start().await;
    let mut report = Report::default();

    silent(&world, &mut upstream, &mut report).await;
    // The closing of the protocol's own, behind which an end is no fault.
    let mut open = Switched::open(world.addr(), &world.mint(HAND), &mut upstream, "closed").await;
    report.equal("its place", world.metric(IN_FLIGHT).await, 1.0);
    let close = [0x88, 0x80, 0, 0, 0, 0];
    open.caller.send(close).await.expect("an open connection");
    report.equal("closed", open.call.exactly(6).await, close);
    open.call.send([0x88, 0]).await;
    report.equal("closed", open.exactly(2).await, [0x88, 0]);
    drop(open.call);
    report.equal(
        "closed",
        rest(&mut open.caller).await,
        (Vec::new(), Ending::Closed),
    );

    let mut open = Switched::open(world.addr(), &world.mint(HAND), &mut upstream, "upstream-broke").await;
    open.call.reset();
    report.equal("upstream broke", rest(&mut open.caller).await.0, b"");

    let mut open = Switched::open(world.addr(), &world.mint(HAND), &mut upstream, "caller-broke").await;
    drop(open.caller);
    report.equal("caller broke", open.call.until_end().await, b"");

    // More than the sockets between them hold.
    let mut open = Switched::open(world.addr(), &world.mint(HAND), &mut upstream, "stalled").await;
    let piece = vec![b'x'; 1 << 20];
    until("the end of a connection whose caller takes nothing", async || {
        open.call.try_send(&piece).await.is_err().then_some(())
    })
    .await;

    until("the places of all", async || {
        (world.metric(IN_FLIGHT).await == 0.0).then_some(())
    })
    .await;

    // A gateway that stops says so between two frames.
    let mut stopped = Switched::open(world.addr(), &world.mint(HAND), &mut upstream, "stopped").await;
    world.gateway.terminate();
    let told = close_frame(1001, "gateway stopping");
    report.equal(
        "stopped",
        rest(&mut stopped.caller).await,
        (told.clone(), Ending::Closed),
    );
    report.equal("stopped", unmasked(&stopped.call.until_end().await), Some(told));
    drop((open, stopped));
    report.equal("stopped", world.gateway.wait().await.code(), Some(0));
    for (id, status, kind) in [
        ("silent", "executed", Some("switched_silent")),
        ("closed", "executed", None),
        ("upstream-broke", "upstream_error", Some("response_copy_failed")),
        ("caller-broke", "upstream_error", Some("client_cancelled")),
        ("stalled", "upstream_error", Some("write_timeout")),
        ("stopped", "interrupted", Some("gateway_stopped")),
    ] {
        let event = world.events_of(id, 1).await.remove(0);
        report.equal(id, event.text("evaluation_status"), status);
        report.equal(id, event.metadata("error_kind").as_str(), kind);
    }
    report.finish();
}
