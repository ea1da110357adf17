//! Somebody removes the spool, and the volume is small or full.

use super::durable::reusable;
use super::{named, world};
use crate::crossing::resource_at;
use crate::hand::{HAND, HandUpstream};
use crate::report::{Report, refusal};
use crate::wire::{ask, head_with};
use crate::world::{NONE, World, parse_metrics, present_to};
use devstack::Target;
use serde_json::Value;
use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use testkit::gateway::Gateway;
use testkit::http::{self, Connection};
use testkit::volume::Volume;
use testkit::wait::until;
use tokio::net::{TcpSocket, TcpStream};

const REMOVED: &str = "caracal_gateway_audit_spool_removed_total";

async fn metric(addr: SocketAddr, name: &str) -> f64 {
    let page = http::get(addr, "/metrics", &[]).await.text();
    parse_metrics(&page).get(name).copied().unwrap_or_default()
}

/// Waits until `/ready` names the audit spool, and returns what it says of it.
async fn unavailable(addr: SocketAddr) -> Value {
    until("/ready to say that there is no room for evidence", async || {
        let told: Value = http::get(addr, "/ready", &[]).await.json();
        (told["reason"] == "audit_unavailable").then(|| told["checks"]["audit"].clone())
    })
    .await
}

async fn served_again(addr: SocketAddr, token: &str) {
    until("room for evidence", async || {
        (present_to(addr, token, NONE, "/").await.status() == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn evidence_in_a_spool_that_is_removed_is_saved_and_without_a_new_one_nothing_crosses() {
    let upstream = HandUpstream::start().await;
    let world = world(&upstream).await;
    let mut report = Report::default();
    let token = reusable(&world);
    let root = world.gateway.directory().join("spool");
    let own = || {
        let entries = fs::read_dir(&root)
            .expect("the spool")
            .map(|entry| entry.expect("an entry").path());
        entries.filter(|path| path.is_dir()).collect::<Vec<_>>()
    };
    for dir in own() {
        fs::remove_dir_all(dir).expect("a directory");
    }
    let expect = refusal(503, "authority_unavailable", "audit evidence unavailable");
    let (mut served, mut refused) = (Vec::new(), 0);
    for at in 0..10_000 {
        let id = format!("removed-{at}");
        let answer = ask(world.addr(), head_with(&token, "GET", NONE, "/", &named(&id))).await;
        if answer.status() == 200 {
            served.push(id);
        } else {
            // Until there is a new directory.
            report.refused(&id, &answer, expect);
            refused += 1;
        }
        if served.len() == 40 {
            break;
        }
    }
    report.equal("served", served.len(), 40);
    for id in served {
        world.events_of(&id, 1).await;
    }
    until("the removal to be counted", async || {
        (world.metric(REMOVED).await > 0.0).then_some(())
    })
    .await;
    report.equal("once", world.metric(REMOVED).await, 1.0);
    let dropped = world.metric("caracal_gateway_audit_dropped_total").await;
    report.holds(
        format!("{dropped} events lost, {refused} refusals"),
        dropped <= f64::from(refused),
    );
    report.equal("new directories", own().len(), 1);
    world
        .gateway
        .logged("the removal", |line| {
            line["level"] == "error"
                && line["msg"]
                    .as_str()
                    .is_some_and(|text| text.contains("was removed"))
        })
        .await;

    // No new one can be made.
    let away = root.with_file_name("away");
    fs::rename(&root, &away).expect("a directory");
    fs::write(&root, "in the way").expect("a file");
    let told = unavailable(world.addr()).await;
    report.equal("the cause", told["cause"].as_str(), Some("spool_removed"));
    let dispatched = world.dispatched();
    let refused = present_to(world.addr(), &token, NONE, "/").await;
    report.refused("without a spool", &refused, expect);
    report.equal("not dispatched", world.dispatched(), dispatched);
    fs::remove_file(&root).expect("a file");
    served_again(world.addr(), &token).await;
    report.finish();
}

/// None where this user may not mount one.
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn volume(bytes: u64) -> Option<Volume> {
    Volume::mount(bytes)
        .inspect_err(|reason| eprintln!("skipped: {reason}"))
        .ok()
}

async fn gateway_on(volume: &Volume, world: &World) -> Gateway {
    let dir = volume.dir().display().to_string();
    let launch = world.launch(&[("AUDIT_REPLAY_DIR", &dir)]);
    launch.under(&volume.enter()).start().await
}

/// A stream that stays open.
async fn stream(addr: SocketAddr, token: &str, id: &str) -> Connection {
    let mut client = Connection::open(addr).await;
    let request = head_with(token, "GET", NONE, "/sse?ms=600000", &named(id));
    client.send(request).await.expect("an open connection");
    client.head().await;
    client.piece().await;
    client
}

#[tokio::test]
async fn evidence_of_far_more_than_the_volume_holds_passes_through_it_beside_a_long_stream() {
    let upstream = HandUpstream::start().await;
    let world = world(&upstream).await;
    let mut report = Report::default();
    let Some(volume) = volume(512 * 1024) else {
        return;
    };
    let mut gateway = gateway_on(&volume, &world).await;
    let token = reusable(&world);
    served_again(gateway.addr(), &token).await;
    let streaming = stream(gateway.addr(), &token, "streaming").await;
    // Some 2 KiB each.
    for at in 0..900 {
        until(&format!("request {at} to be served"), async || {
            let response = present_to(gateway.addr(), &token, NONE, "/").await;
            (response.status() == 200).then_some(())
        })
        .await;
    }
    report.equal(
        "dropped",
        metric(gateway.addr(), "caracal_gateway_audit_dropped_total").await,
        0.0,
    );
    gateway.kill().await;
    drop(streaming);
    let next = gateway_on(&volume, &world).await;
    let events = world.events_of("streaming", 1).await;
    report.equal(
        "the stream",
        events[0].kind(),
        ("gateway_resource_request", "interrupted"),
    );
    served_again(next.addr(), &token).await;
    report.finish();
}

#[tokio::test]
async fn evidence_on_a_full_volume_is_shipped_after_a_restart_and_the_gate_opens_with_space() {
    let upstream = HandUpstream::start().await;
    let mut world = world(&upstream).await;
    let mut report = Report::default();
    let Some(volume) = volume(2 * 1024 * 1024) else {
        return;
    };
    let mut gateway = gateway_on(&volume, &world).await;
    let token = reusable(&world);
    served_again(gateway.addr(), &token).await;
    let streaming = stream(gateway.addr(), &token, "cut").await;
    world.redis.pause();
    for at in 0..5 {
        let request = head_with(&token, "GET", NONE, "/", &named(&format!("kept-{at}")));
        report.status(format!("request {at}"), &ask(gateway.addr(), request).await, 200);
    }
    let filler = volume.fill();
    gateway.kill().await;
    drop(streaming);
    world.redis.resume();

    let next = gateway_on(&volume, &world).await;
    for at in 0..5 {
        world.events_of(&format!("kept-{at}"), 1).await;
    }
    let events = world.events_of("cut", 1).await;
    report.equal(
        "the stream",
        events[0].kind(),
        ("gateway_resource_request", "interrupted"),
    );
    // What was shipped made space; somebody takes that, too.
    let again = volume.seen().join("again");
    let mut file = fs::File::create(&again).expect("a file");
    let told = until("no space", async || {
        while file.write_all(&[1; 4096]).is_ok() {}
        let _ = present_to(next.addr(), &token, NONE, "/").await;
        let told: Value = http::get(next.addr(), "/ready", &[]).await.json();
        (told["reason"] == "audit_unavailable").then(|| told["checks"]["audit"]["cause"].clone())
    })
    .await;
    report.equal("the cause", told.as_str(), Some("no_space"));
    let refused = present_to(next.addr(), &token, NONE, "/").await;
    let expect = refusal(503, "authority_unavailable", "audit evidence unavailable");
    report.refused("on a full volume", &refused, expect);
    for file in [filler, again] {
        fs::remove_file(file).expect("a file");
    }
    served_again(next.addr(), &token).await;
    report.finish();
}

/// An address at which connections wait to be accepted for ever.
async fn unaccepting() -> (SocketAddr, impl Drop) {
    struct Held(#[expect(dead_code, reason = "held until dropped")] (tokio::net::TcpListener, TcpStream));
    impl Drop for Held {
        fn drop(&mut self) {}
    }
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a free port");
    let listener = socket.listen(0).expect("a listener");
    let addr = listener.local_addr().expect("an address");
    // The only place there is.
    let first = TcpStream::connect(addr).await.expect("a connection");
    (addr, Held((listener, first)))
}

#[tokio::test]
async fn evidence_of_a_request_that_never_left_when_the_process_was_killed_says_so() {
    let (addr, _held) = unaccepting().await;
    let mut world = World::builder()
        .stack(|stack| {
            let place = Target::Url(format!("http://{addr}"));
            stack.resources.push(resource_at(HAND, place));
        })
        .start()
        .await;
    let mut report = Report::default();
    let mut client = Connection::open(world.addr()).await;
    let request = head_with(&world.token(HAND), "GET", HAND, "/", &named("waiting"));
    client.send(request).await.expect("an open connection");
    let spool = world.gateway.directory().join("spool");
    until("its intent", async || {
        let dirs = fs::read_dir(&spool)
            .ok()?
            .filter_map(|dir| fs::read_dir(dir.ok()?.path()).ok());
        let mut files = dirs.flatten().filter_map(|file| fs::read(file.ok()?.path()).ok());
        files
            .any(|bytes| String::from_utf8_lossy(&bytes).contains("waiting"))
            .then_some(())
    })
    .await;
    world.gateway.kill().await;
    let spool = spool.display().to_string();
    let _next = world.replica_with(&[("AUDIT_REPLAY_DIR", &spool)]).await;
    let events = world.events_of("waiting", 1).await;
    report.equal(
        "kind",
        events[0].kind(),
        ("gateway_resource_request", "not_dispatched"),
    );
    report.equal("decision", events[0].text("decision"), "deny");
    report.finish();
}
