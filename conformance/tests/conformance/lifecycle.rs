//! How the process ends.

use crate::hand::{HAND, HandUpstream};
use crate::report::Report;
use crate::wire::{ask, head};
use crate::world::{NONE, World, present_to};
use testkit::http::{self, Connection, Ending, Piece, Rest};
use testkit::wait::{PATIENCE, until};

#[tokio::test]
async fn lifecycle_sigterm_drains_requests_streams_and_evidence_then_exits_0() {
    let mut upstream = HandUpstream::start().await;
    let mut world = World::builder()
        .hand(&upstream)
        .env("DRAIN_DELAY", "5s")
        .env("SHUTDOWN_GRACE", "8s")
        .start()
        .await;
    let mut report = Report::default();
    let addr = world.addr();

    let mut in_flight = Connection::open(addr).await;
    in_flight
        .send(head(&world, "GET", HAND, "/", "X-Request-Id: in-flight\r\n"))
        .await
        .expect("an open connection");
    let mut call = upstream.call().await;
    call.head().await;
    let mut events = Connection::open(addr).await;
    events
        .send(head(
            &world,
            "GET",
            NONE,
            "/sse?ms=600000",
            "X-Request-Id: events\r\n",
        ))
        .await
        .expect("an open connection");
    events.head().await;
    events.piece().await;
    let mut idle = Connection::open(addr).await;
    report.status(
        "idle",
        &idle.exchange("GET /health HTTP/1.1\r\nHost: a\r\n\r\n").await,
        200,
    );

    world.gateway.terminate();
    let draining = until("the end to begin", async || {
        let ready = http::get(addr, "/ready", &[]).await;
        (ready.status() == 503).then_some(ready)
    })
    .await;
    report.equal("ready", draining.json()["reason"].as_str(), Some("draining"));
    report.status("alive", &http::get(addr, "/health", &[]).await, 200);
    let late = ask(
        addr,
        head(
            &world,
            "GET",
            NONE,
            "/",
            "X-Request-Id: late\r\nConnection: close\r\n",
        ),
    )
    .await;
    report.status("a new connection while draining", &late, 200);

    // The idle connection is closed and new ones are not taken; what is under way goes on.
    report.equal("the idle connection", idle.rest(PATIENCE).await, Rest::Closed);
    until("the listener to close", async || {
        tokio::net::TcpStream::connect(addr).await.is_err().then_some(())
    })
    .await;
    report.holds(
        "it waits for the request in flight",
        world.gateway.ended().is_none(),
    );
    call.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone")
        .await;
    let response = in_flight.response().await;
    report.equal(
        "in flight",
        (response.status(), response.text()),
        (200, "done".to_owned()),
    );
    report.equal("in flight", response.header("connection"), Some("close"));
    // A stream that never ends by itself is ended cleanly when the grace is over.
    let mut end = events.piece().await;
    while let Piece::Data(_) = end {
        end = events.piece().await;
    }
    report.holds(
        format!("the event stream: {end:?}"),
        matches!(end, Piece::End(Ending::Complete, _)),
    );
    report.equal("exit status", world.gateway.wait().await.code(), Some(0));

    // The evidence left before the process did.
    let sent = world.events().await;
    for (id, status) in [
        ("in-flight", "executed"),
        ("late", "executed"),
        ("events", "interrupted"),
    ] {
        let found: Vec<_> = sent
            .iter()
            .filter(|event| event.text("request_id") == id)
            .map(|event| event.text("evaluation_status").to_owned())
            .collect();
        report.equal(format!("evidence of {id}"), found, [status]);
    }
    report.finish();
}

#[tokio::test]
async fn lifecycle_sigterm_while_it_waits_for_a_store_exits_0_and_leaves_nothing() {
    let world = World::start().await;
    let mut report = Report::default();
    let launch = world.launch(&[("REDIS_URL", "redis://127.0.0.1:1/0")]);
    let spool = launch.directory().join("spool");
    let parts = || {
        let entries = std::fs::read_dir(&spool).expect("the spool's directory");
        entries
            .filter(|entry| entry.as_ref().is_ok_and(|entry| entry.path().is_dir()))
            .count()
    };
    let mut gateway = launch.spawn();
    until("its part of the spool", async || (parts() > 0).then_some(())).await;
    gateway.terminate();
    report.equal("exit status", gateway.wait().await.code(), Some(0));
    report.equal("spool", parts(), 0);
    let last = gateway.log().pop();
    report.equal(
        "log",
        last.map(|line| line["msg"].clone()),
        Some("stopped".into()),
    );
    report.finish();
}

#[tokio::test]
async fn lifecycle_a_second_signal_or_the_grace_ends_what_does_not_end() {
    let world = World::start().await;
    let mut report = Report::default();
    for (case, grace, twice) in [("second signal", "600s", true), ("grace", "1s", false)] {
        let mut gateway = world.replica_with(&[("SHUTDOWN_GRACE", grace)]).await;
        let mut client = Connection::open(gateway.addr()).await;
        client
            .send(head(&world, "GET", NONE, "/chunked?n=100000000&size=16", ""))
            .await
            .expect("an open connection");
        client.head().await;
        gateway.terminate();
        gateway
            .logged("the end to begin", |line| line["msg"] == "draining")
            .await;
        if twice {
            gateway.terminate();
        }
        report.equal(case, gateway.wait().await.code(), Some(0));
        let mut end = client.piece().await;
        while let Piece::Data(_) = end {
            end = client.piece().await;
        }
        report.holds(
            format!("{case}: {end:?}"),
            matches!(end, Piece::End(Ending::Truncated | Ending::Reset, _)),
        );
    }
    report.finish();
}

/// Refusals beyond the quota are only in memory, as a sum, until their second is over or the process ends.
#[tokio::test]
async fn lifecycle_sigterm_ships_the_sums_of_refusals_and_leaves_no_spool() {
    let world = World::start().await;
    let mut report = Report::default();
    let token = world.token(NONE);
    let (rounds, refusals) = (6, 20);
    for round in 1..=rounds {
        let mut gateway = world.replica_with(&[("AUDIT_DENIALS_PER_SECOND", "1")]).await;
        for _ in 0..refusals {
            let answer = present_to(gateway.addr(), &token, "resource://unknown", "/").await;
            report.status("not bound", &answer, 403);
        }
        gateway.terminate();
        report.equal("exit status", gateway.wait().await.code(), Some(0));
        let events = world.events().await;
        let stand_for = events.iter().map(|event| {
            report.equal("kind", event.metadata("error_kind").as_str(), Some("not_bound"));
            event.metadata("suppressed").as_u64().unwrap_or(1)
        });
        let all: u64 = stand_for.sum();
        report.equal("refusals on record", all, round * refusals);
        let left = std::fs::read_dir(gateway.directory().join("spool")).expect("the spool's directory");
        let left: Vec<_> = left
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| name.starts_with("spool-"))
            .collect();
        report.equal("left behind", left, Vec::<String>::new());
    }
    report.finish();
}
