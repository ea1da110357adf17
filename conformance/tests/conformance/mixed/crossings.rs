//! Requests that reach an upstream, and how they end.

use super::{EXECUTED, Kind, Run, collect, open, stop};
use crate::hand::HAND;
use crate::wire::ask;
use crate::world::{NONE, ZONE};
use devstack::{Scope, Step};
use std::sync::Arc;
use testkit::wait::until;
use tokio::sync::Semaphore;

const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";
const CHUNKED_ANSWER: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
const EVENTS: &str = "/sse?ms=600000&q=planted-query-02";

const fn error(kind: &'static str) -> Kind {
    ("upstream_error", Some(kind))
}

pub(super) async fn run(run: &mut Run) {
    answers(run).await;
    callers_that_leave(run).await;
    revocations(run).await;
    time_limits(run).await;
}

/// What the upstream answers.
async fn answers(run: &mut Run) {
    let addr = run.world.addr();
    for (id, target, kind) in [
        ("not-found", "/status/404?q=planted-query-02", EXECUTED),
        ("redirect", "/redirect?to=/planted-answer-09", EXECUTED),
        ("broken-off", "/close?n=1000", error("response_copy_failed")),
    ] {
        let token = run.world.token(NONE);
        let request = run.head("GET", id, NONE, &token, target, "Connection: close\r\n");
        ask(addr, request).await;
        run.expect(id, kind);
    }
    for (id, answer, kind) in [
        ("no-answer", "", error("transport_error")),
        (
            "no-http",
            "planted-answer-09\r\n\r\n",
            error("upstream_response_invalid"),
        ),
        (
            "bad-field",
            "HTTP/1.1 200 OK\r\nplanted-answer-09 : x\r\n\r\n",
            error("upstream_response_invalid"),
        ),
    ] {
        let token = run.world.token(HAND);
        let request = run.request(id, HAND, &token);
        let play = async {
            let mut call = run.upstream.call().await;
            let head = call.head().await;
            call.exactly(super::BODY.len()).await;
            call.send(answer).await;
            head
        };
        let (response, head) = tokio::join!(ask(addr, request), play);
        run.report
            .holds("the credential crosses", head.contains("planted-provider-06"));
        if response.status() != 200 {
            run.told(id, &response);
        }
        run.expect(id, kind);
    }
    // Broken off behind what the caller has: else it may see nothing of the answer.
    let token = run.world.token(HAND);
    let mut client = open(run, addr, ("half", &token), ("GET", HAND, "/"), "").await;
    let mut call = run.upstream.call().await;
    let head = call.head().await;
    run.report
        .holds("the credential crosses", head.contains("planted-provider-06"));
    call.send("HTTP/1.1 200 OK\r\nSet-Cookie: planted-answer-09\r\nContent-Length: 9\r\n\r\nhalf")
        .await;
    client.head().await;
    drop(call);
    run.expect("half", error("response_copy_failed"));
    // A body that is none.
    let token = run.world.token(HAND);
    let mut client = open(run, addr, ("bad-chunk", &token), ("POST", HAND, "/"), CHUNKED).await;
    client
        .send("f\r\nplanted-body-05\r\n")
        .await
        .expect("an open connection");
    let mut call = run.upstream.call().await;
    call.through(b"planted-body-05").await;
    client.send("zz\r\n").await.expect("an open connection");
    let response = client.response().await;
    run.told("bad-chunk", &response);
    run.expect("bad-chunk", error("malformed_body"));
}

async fn callers_that_leave(run: &mut Run) {
    let addr = run.world.addr();
    let token = run.world.token(NONE);
    let mut client = open(run, addr, ("left", &token), ("GET", NONE, EVENTS), "").await;
    client.head().await;
    drop(client);
    run.expect("left", error("client_cancelled"));

    // Before anything crossed.
    let gate = Arc::new(Semaphore::new(0));
    let held = Step {
        hold: Some(Arc::clone(&gate)),
        ..Step::default()
    };
    run.world.stack.script().set(Scope::Exchange, held);
    let before = run.world.stack.sts().counts().exchanges;
    let token = run.world.token(NONE);
    let client = open(run, addr, ("left-early", &token), ("GET", NONE, EVENTS), "").await;
    until("the exchange to be under way", async || {
        (run.world.stack.sts().counts().exchanges > before).then_some(())
    })
    .await;
    drop(client);
    run.world.events_of("left-early", 1).await;
    run.world.stack.script().clear(&Scope::Exchange);
    gate.add_permits(100);
    run.expect("left-early", ("denied", Some("client_cancelled")));
}

async fn revocations(run: &mut Run) {
    let addr = run.world.addr();
    let minted = run.world.mint(NONE);
    let (token, sid) = (minted.token.expose().to_owned(), minted.sid.clone());
    let mut client = open(run, addr, ("revoked-late", &token), ("GET", NONE, EVENTS), "").await;
    client.head().await;
    client.piece().await;
    revoke(run, &sid).await;
    client.piece().await;
    run.expect("revoked-late", EXECUTED);

    let minted = run.world.mint(HAND);
    let (token, sid) = (minted.token.expose().to_owned(), minted.sid.clone());
    let lines = "Content-Length: 0\r\n";
    let mut client = open(run, addr, ("revoked-early", &token), ("POST", HAND, "/"), lines).await;
    let mut call = run.upstream.call().await;
    call.head().await;
    revoke(run, &sid).await;
    let response = client.response().await;
    run.told("revoked-early", &response);
    run.expect("revoked-early", error("revoked"));
}

async fn revoke(run: &Run, sid: &str) {
    let message = [("session_id", sid), ("zone_id", ZONE)];
    run.world.publish("caracal.sessions.revoke", &message).await;
}

/// Gateways that wait for nobody: one for upstreams, one for callers, of whom it takes ten bytes.
async fn time_limits(run: &mut Run) {
    let for_upstreams = [("UPSTREAM_TIMEOUT", "4s"), ("STREAM_IDLE_TIMEOUT", "2s")];
    let for_callers = [
        ("READ_TIMEOUT", "4s"),
        ("WRITE_TIMEOUT", "2s"),
        ("MAX_REQUEST_BYTES", "10"),
    ];
    let hasty = [
        run.world.replica_with(&for_upstreams).await,
        run.world.replica_with(&for_callers).await,
    ];
    let mut clients = Vec::new();
    for (gateway, id, target, kind) in [
        (&hasty[0], "hangs", "/hang?q=planted-query-02", "transport_error"),
        (
            &hasty[1],
            "not-taken",
            "/chunked?n=100000&size=16384",
            "write_timeout",
        ),
    ] {
        let token = run.world.token(NONE);
        let case = ("GET", NONE, target);
        clients.push(open(run, gateway.addr(), (id, &token), case, "").await);
        run.expect(id, error(kind));
    }
    for (gateway, id, answer, rest, kind) in [
        (
            &hasty[0],
            "silent",
            "4\r\npart\r\n",
            "0\r\n\r\n",
            "upstream_silent",
        ),
        (
            &hasty[1],
            "too-large",
            "",
            "f\r\nplanted-body-05\r\n",
            "body_too_large",
        ),
        (&hasty[1], "too-slow", "", "", "request_timeout"),
    ] {
        let token = run.world.token(HAND);
        let mut client = open(run, gateway.addr(), (id, &token), ("POST", HAND, "/"), CHUNKED).await;
        let mut call = run.upstream.call().await;
        call.head().await;
        call.send(format!("{CHUNKED_ANSWER}{answer}")).await;
        client.head().await;
        client.send(rest).await.expect("an open connection");
        run.world.events_of(id, 1).await;
        run.expect(id, error(kind));
    }
    for id in ["hangs", "not-taken"] {
        run.world.events_of(id, 1).await;
    }
    drop(clients);
    for gateway in hasty {
        collect(&mut run.sinks, "a hasty one", &gateway, true).await;
        stop(gateway).await;
    }
}
