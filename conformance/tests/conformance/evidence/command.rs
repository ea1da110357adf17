//! `evidence`: what people and scripts get to know of audit events, from every source.

use super::{named, world};
use crate::hand::HandUpstream;
use crate::report::Report;
use crate::wire::{ask, head_with};
use crate::world::{NONE, World, ZONE};
use serde_json::Value;
use testkit::gateway::Finished;
use testkit::http::Connection;
use testkit::wait::until;

const FAULTY: Option<i32> = Some(1);
const UNAVAILABLE: Option<i32> = Some(69);
const CONFIG: Option<i32> = Some(78);

/// Runs `evidence` with these arguments in the environment of the world's gateway.
pub(super) async fn run(world: &World, arguments: &[&str]) -> Finished {
    run_with(world, &[], arguments).await
}

pub(super) async fn run_with(world: &World, changes: &[(&str, &str)], arguments: &[&str]) -> Finished {
    let launch = world.launch(changes).arg("evidence");
    let launch = arguments
        .iter()
        .fold(launch, |launch, argument| launch.arg(*argument));
    launch.finish().await
}

/// One request that crosses, and one that a gate refuses.
async fn crossed_and_refused(world: &World) {
    for (id, resource, status) in [("crossed", NONE, 200), ("refused", "resource://unknown", 403)] {
        let request = head_with(&world.token(NONE), "GET", resource, "/", &named(id));
        assert_eq!(ask(world.addr(), request).await.status(), status, "{id}");
        world.events_of(id, 1).await;
    }
}

#[tokio::test]
async fn evidence_command_follows_and_exports_the_stream_and_filters_it() {
    let upstream = HandUpstream::start().await;
    let world = world(&upstream).await;
    let mut report = Report::default();
    let launch = [
        "evidence",
        "tail",
        "--after",
        "0-0",
        "--zone",
        ZONE,
        "--decision",
        "deny",
    ];
    let tail = launch
        .iter()
        .fold(world.launch(&[]), |launch, argument| launch.arg(*argument));
    let tail = tail.spawn();
    let live = ["evidence", "tail", "--after", "0-0", "--resource", NONE, "--json"];
    let live = live
        .iter()
        .fold(world.launch(&[]), |launch, argument| launch.arg(*argument));
    let live = live.spawn();
    crossed_and_refused(&world).await;
    let followed = until("the refusal to be followed", async || {
        let lines = tail.stdout();
        (!lines.is_empty()).then_some(lines)
    })
    .await;
    let columns: Vec<&str> = followed[0].split('\t').collect();
    report.equal("lines", followed.len(), 1);
    for wanted in [
        "deny",
        "denied",
        ZONE,
        "resource://unknown",
        "GET",
        "403",
        "not_bound",
        "refused",
    ] {
        report.holds(format!("{wanted} in {columns:?}"), columns.contains(&wanted));
    }

    let exported = run(&world, &["export"]).await;
    report.equal(format!("export: {:?}", exported.stderr), exported.code, Some(0));
    let lines: Vec<Value> = exported
        .stdout
        .iter()
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .collect();
    let events = world.events().await;
    let data: Vec<&str> = lines.iter().filter_map(|line| line["data"].as_str()).collect();
    report.equal(
        "exact bytes",
        data,
        events.iter().map(|event| event.data.as_str()).collect::<Vec<_>>(),
    );
    report.holds(
        "ids and signatures",
        lines.iter().zip(&events).all(|(line, event)| {
            line["id"] == event.json["id"] && line["sig"].as_str().is_some_and(|sig| sig.len() == 64)
        }),
    );
    let one = run(&world, &["export", "--decision", "allow", "--resource", NONE]).await;
    report.holds(
        "a filter of the export",
        one.stdout.iter().all(|line| line.contains("crossed")) && !one.stdout.is_empty(),
    );
    until("the crossing to be followed as a line of an export", async || {
        one.stdout
            .iter()
            .all(|line| live.stdout().contains(line))
            .then_some(())
    })
    .await;
    report.finish();
}

#[tokio::test]
async fn evidence_command_explains_what_decided_from_every_source() {
    let upstream = HandUpstream::start().await;
    let mut world = world(&upstream).await;
    let mut report = Report::default();
    crossed_and_refused(&world).await;
    let exported = run(&world, &["export"]).await.stdout.join("\n");
    let file = world.gateway.directory().join("export.jsonl");
    std::fs::write(&file, exported).expect("a file");
    let file = file.display().to_string();
    for source in [&[][..], &["--file", &file]] {
        let explained = run(&world, &[&["explain", "refused"], source].concat()).await;
        report.equal(
            format!("{source:?}: {:?}", explained.stderr),
            explained.code,
            Some(0),
        );
        let text = explained.stdout.join("\n");
        for wanted in [
            "GET for resource://unknown in zone zone-dev",
            "gate 11",
            "access_denied: resource not configured",
            "gateway_resource_bindings",
            "caller got  403",
        ] {
            report.holds(format!("{wanted:?} in {text}"), text.contains(wanted));
        }
    }
    let explained = run(&world, &["explain", "crossed", "--json"]).await;
    let explained: Value = serde_json::from_str(&explained.stdout.join("")).expect("JSON");
    report.equal("decision", &explained["decision"], "allow");
    report.equal("upstream", &explained["upstream_status"], 200);

    // A request that is under way, while Redis is away: only the spool knows it.
    let mut client = Connection::open(world.addr()).await;
    let request = head_with(&world.token(NONE), "GET", NONE, "/sse?ms=600000", &named("open"));
    client.send(request).await.expect("an open connection");
    client.head().await;
    world.redis.pause();
    let spool = world.gateway.directory().join("spool").display().to_string();
    let explained = run(&world, &["explain", "open", "--spool", &spool]).await;
    report.equal(format!("spool: {:?}", explained.stderr), explained.code, Some(0));
    report.holds(
        "under way",
        explained.stdout.join("\n").contains("still under way"),
    );
    world.redis.resume();
    report.finish();
}

#[tokio::test]
async fn evidence_command_says_by_its_status_what_is_wrong() {
    let upstream = HandUpstream::start().await;
    let world = world(&upstream).await;
    let mut report = Report::default();
    let nobody = "redis://127.0.0.1:1/0";
    let directory = world.gateway.directory().join("broken.jsonl");
    std::fs::write(&directory, "{\"id\":1}\n").expect("a file");
    let broken = directory.display().to_string();
    for (case, changes, arguments, code, words) in [
        (
            "no such event",
            &[][..],
            &["explain", "nobody"][..],
            FAULTY,
            "no event of nobody",
        ),
        (
            "no Redis",
            &[("REDIS_URL", nobody)],
            &["export"],
            UNAVAILABLE,
            "REDIS_URL",
        ),
        (
            "no Redis to follow",
            &[("REDIS_URL", nobody)],
            &["tail"],
            UNAVAILABLE,
            "REDIS_URL",
        ),
        (
            "no setting",
            &[("REDIS_URL", "")],
            &["export"],
            CONFIG,
            "REDIS_URL is required",
        ),
        (
            "a short key",
            &[("AUDIT_HMAC_KEY", "00")],
            &["export"],
            CONFIG,
            "AUDIT_HMAC_KEY",
        ),
        (
            "no file",
            &[],
            &["export", "--file", "missing"],
            UNAVAILABLE,
            "missing",
        ),
        (
            "no spool",
            &[],
            &["explain", "x", "--spool", "missing"],
            UNAVAILABLE,
            "missing",
        ),
        ("no export", &[], &["export", "--file", &broken], FAULTY, "line 1"),
    ] {
        let finished = run_with(&world, changes, arguments).await;
        report.equal(format!("{case}: {:?}", finished.stderr), finished.code, code);
        let said = finished.stderr.join("\n");
        report.holds(format!("{case}: {words} in {said}"), said.contains(words));
        report.holds(format!("{case}: nothing else"), finished.stdout.is_empty());
    }
    report.finish();
}
