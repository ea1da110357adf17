//! Chains and checkpoints: what a run proves, and what is seen when somebody takes something away.

use super::command::{run, run_with};
use super::durable::reusable;
use super::{named, world};
use crate::hand::HandUpstream;
use crate::report::Report;
use crate::wire::{ask, head_with};
use crate::world::{CHECKPOINT, Event, NONE, World};
use serde_json::Value;
use testkit::gateway::{Finished, Gateway};
use testkit::http::Connection;
use testkit::wait::until;

pub(super) const FAULTY: Option<i32> = Some(1);

pub(super) async fn cross(world: &World, gateway: &Gateway, ids: &[&str]) {
    let token = reusable(world);
    for id in ids {
        let request = head_with(&token, "GET", NONE, "/", &named(id));
        assert_eq!(ask(gateway.addr(), request).await.status(), 200, "{id}");
    }
}

/// Ends a gateway, and waits for its last checkpoint.
pub(super) async fn end(gateway: &mut Gateway) {
    gateway.terminate();
    assert_eq!(gateway.wait().await.code(), Some(0));
}

/// The key that a gateway's log names.
async fn key(gateway: &Gateway) -> String {
    let begins = |line: &Value| line["msg"] == "a chain of audit events begins";
    let line = gateway.logged("a chain to begin", begins).await;
    line["key"].as_str().expect("a key").to_owned()
}

fn verdict(finished: &Finished) -> Value {
    serde_json::from_str(&finished.stdout.join("")).expect("a verdict in JSON")
}

fn at(event: &Event) -> (String, u64) {
    let chain = event.metadata("chain_id").as_str().expect("a chain").to_owned();
    (chain, event.metadata("chain_seq").as_u64().expect("a number"))
}

/// Removes the stream's entries of these events.
pub(super) async fn remove(world: &World, events: &[&Event]) {
    for event in events {
        let removed: usize = redis::cmd("XDEL")
            .arg("caracal.audit.events")
            .arg(&event.entry)
            .query_async(&mut world.redis().await)
            .await
            .expect("an answer of Redis");
        assert_eq!(removed, 1);
    }
}

#[tokio::test]
async fn evidence_of_processes_that_end_and_are_killed_is_proved_whole() {
    let upstream = HandUpstream::start().await;
    let mut world = world(&upstream).await;
    let mut report = Report::default();
    let spool = world.gateway.directory().join("spool").display().to_string();
    cross(&world, &world.gateway, &["a-1", "a-2", "a-3"]).await;
    world.events_of("a-3", 1).await;
    let open = run(&world, &["verify", "--json"]).await;
    let open = verdict(&open);
    report.equal("a chain that is open is sound", &open["is_sound"], true);
    report.equal("and not complete", &open["chains"][0]["is_complete"], false);

    let mut killed = world.replica_with(&[("AUDIT_REPLAY_DIR", &spool)]).await;
    let mut client = Connection::open(killed.addr()).await;
    let request = head_with(&world.token(NONE), "GET", NONE, "/sse?ms=600000", &named("cut"));
    client.send(request).await.expect("an open connection");
    client.head().await;
    cross(&world, &killed, &["b-1"]).await;
    world.events_of("b-1", 1).await;
    // What Redis does not take stays in the spool, which can be verified there.
    world.redis.pause();
    cross(&world, &killed, &["b-2", "b-3"]).await;
    let at_rest = ["verify", "--spool", &spool, "--json"];
    let in_spool = until("the events to be in the spool", async || {
        let verdict = verdict(&run(&world, &at_rest).await);
        let parts = verdict["spool"].as_array().expect("processes");
        let waits = parts.iter().any(|part| part["waiting"] == 2);
        waits.then_some(verdict)
    })
    .await;
    report.equal(format!("{in_spool}"), &in_spool["is_sound"], true);
    let parts = in_spool["spool"].as_array().expect("processes");
    let part = parts.iter().find(|part| part["waiting"] == 2).expect("one");
    report.equal(
        "what is shipped, and what is under way",
        (&part["shipped"], &part["under_way"]),
        (&Value::from(1), &Value::from(1)),
    );
    killed.kill().await;
    world.redis.resume();

    let mut keys = vec![key(&world.gateway).await, key(&killed).await];
    let mut successor = world.replica_with(&[("AUDIT_REPLAY_DIR", &spool)]).await;
    world.events_of("cut", 1).await;
    cross(&world, &successor, &["c-1"]).await;
    keys.push(key(&successor).await);
    end(&mut successor).await;
    end(&mut world.gateway).await;

    let arguments: Vec<&str> = keys.iter().flat_map(|key| ["--checkpoint-key", key]).collect();
    let proved = run(&world, &[&["verify", "--json"], arguments.as_slice()].concat()).await;
    report.equal(format!("{:?}", proved.stdout), proved.code, Some(0));
    let verdict = verdict(&proved);
    report.equal("everything is proved", &verdict["is_sound"], true);
    // A batch that Redis took without being heard, because the gateway was killed then, comes again.
    let count = |name: &str| verdict[name].as_u64().expect("a number");
    let once = count("events") - count("duplicates");
    report.equal("each event", once, world.all_events().await.len() as u64);
    report.equal("by checkpoints", once, count("proved"));
    let chains = verdict["chains"].as_array().expect("chains");
    report.equal("chains", chains.len(), 3);
    for chain in chains {
        report.equal(
            format!("{chain}"),
            (&chain["is_complete"], &chain["key_trust"]),
            (&Value::Bool(true), &Value::from("given")),
        );
    }
    let bounded = run(&world, &["verify", "--max-unproved", "0"]).await;
    report.equal("nothing waits for its proof", bounded.code, Some(0));
    let foreign = run(&world, &["verify", "--checkpoint-key", &keys[0]]).await;
    report.equal("a key that is not given", foreign.code, FAULTY);
    report.finish();
}

#[tokio::test]
async fn evidence_that_is_taken_away_or_changed_is_named() {
    let upstream = HandUpstream::start().await;
    let mut world = world(&upstream).await;
    let mut report = Report::default();
    cross(&world, &world.gateway, &["1", "2", "3", "4"]).await;
    world.events_of("4", 1).await;
    end(&mut world.gateway).await;
    let whole = run(&world, &["export"]).await.stdout;
    let file = world.gateway.directory().join("export.jsonl");
    let path = file.display().to_string();
    let verify = async |lines: &[String], arguments: &[&str]| {
        std::fs::write(&file, lines.join("\n")).expect("a file");
        run(&world, &[&["verify", "--file", &path], arguments].concat()).await
    };
    report.equal("an export", verify(&whole, &[]).await.code, Some(0));
    let without = |at: usize| [&whole[..at], &whole[at + 1..]].concat();
    for at in 0..whole.len() - 1 {
        let finished = verify(&without(at), &[]).await;
        report.equal(format!("without event {at}"), finished.code, FAULTY);
        let hole = format!("event {} is missing", at + 1);
        report.holds(&hole, finished.stdout.join("\n").contains(&hole));
    }
    let cut = verify(&without(whole.len() - 1), &[]).await;
    report.equal("a cut end is no hole", cut.code, Some(0));
    let bounded = verify(&without(whole.len() - 1), &["--max-unproved", "0"]).await;
    report.equal("and may not be for long", bounded.code, FAULTY);
    let mut exchanged = whole.clone();
    let ids: Vec<Value> = whole
        .iter()
        .map(|line| serde_json::from_str(line).expect("a line"))
        .collect();
    let id = |at: usize| ids[at]["id"].as_str().expect("an id");
    exchanged[0] = whole[0].replacen(id(0), id(1), 1);
    // A line that is none is one fault, and the rest is judged all the same.
    let last = whole.len() - 1;
    let half = &whole[last][..whole[last].len() / 2];
    let bad = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
    for (lines, words, rest) in [
        (
            [&whole[..last], &bad(&[half])].concat(),
            format!("line {} ends in the middle", last + 1),
            last,
        ),
        (
            [&bad(&[""]), &whole[..]].concat(),
            "line 1 is empty".to_owned(),
            whole.len(),
        ),
        (
            [&whole[..1], &bad(&["no JSON", &"x".repeat(300_000)]), &whole[1..]].concat(),
            "line 3 is no line of an export".to_owned(),
            whole.len(),
        ),
    ] {
        let finished = verify(&lines, &[]).await;
        report.equal(&words, finished.code, FAULTY);
        let said = finished.stdout.join("\n");
        report.holds(format!("{words} in {said}"), said.contains(&words));
        report.holds(
            format!("the rest of {said}"),
            said.contains(&format!(": {rest} events")),
        );
    }
    let nothing = verify(&[], &[]).await;
    report.equal("an empty export", nothing.code, FAULTY);
    let elsewhere = world.redis.url().trim_end_matches("/0").to_owned() + "/7";
    let nothing = run_with(&world, &[("REDIS_URL", &elsewhere)], &["verify"]).await;
    report.equal("another database", nothing.code, FAULTY);
    report.holds(
        format!("{:?}", nothing.stderr),
        nothing.stderr.join("\n").contains("REDIS_URL"),
    );
    report.equal("exchanged ids", verify(&exchanged, &[]).await.code, FAULTY);
    report.holds(
        "a cut end leaves the chain open",
        cut.stdout.join("\n").contains("no checkpoint yet"),
    );
    let changed: Vec<String> = whole
        .iter()
        .map(|line| line.replacen("allow", "deny", 1))
        .collect();
    report.equal("changed events", verify(&changed, &[]).await.code, FAULTY);
    // Whoever has the key of signatures cannot do it either.
    let unsigned = [("AUDIT_HMAC_KEY", "")];
    std::fs::write(&file, changed.join("\n")).expect("a file");
    let finished = run_with(&world, &unsigned, &["verify", "--file", &path]).await;
    report.equal("without judging signatures", finished.code, FAULTY);

    // The stream itself.
    report.equal("the stream", run(&world, &["verify"]).await.code, Some(0));
    let events = world.all_events().await;
    let (chain, seq) = at(&events[1]);
    remove(&world, &[&events[1], &events[2]]).await;
    let finished = run(&world, &["verify"]).await;
    report.equal("with a hole", finished.code, FAULTY);
    let hole = format!("chain {chain}: events {seq} to {} are missing", seq + 1);
    report.holds(&hole, finished.stdout.join("\n").contains(&hole));
    let last = events.last().expect("a checkpoint");
    report.equal("the last event", last.text("event_type"), CHECKPOINT);
    report.finish();
}

#[tokio::test]
async fn evidence_of_all_gateways_is_signed_with_the_key_that_is_set() {
    let upstream = HandUpstream::start().await;
    let mut world = world(&upstream).await;
    let mut report = Report::default();
    let secret = "11".repeat(32);
    let mut keyed = world.replica_with(&[("AUDIT_CHECKPOINT_KEY", &secret)]).await;
    cross(&world, &keyed, &["keyed"]).await;
    let key = key(&keyed).await;
    let spool = keyed.directory().join("spool");
    let parts: Vec<_> = std::fs::read_dir(&spool).expect("a spool").flatten().collect();
    let with = |name: &str| {
        parts
            .iter()
            .filter(|part| part.path().join(name).exists())
            .count()
    };
    report.equal("no file has the secret", (with("chain"), with("key")), (1, 0));
    end(&mut keyed).await;
    end(&mut world.gateway).await;
    let proved = run(&world, &["verify", "--checkpoint-key", &key]).await;
    report.equal(format!("{:?}", proved.stdout), proved.code, Some(0));
    let told = run_with(&world, &[("AUDIT_CHECKPOINT_KEY", &secret)], &["key"]).await;
    report.equal("the public key is to be had", told.stdout, [key.clone()]);
    let given = run(&world, &["verify", "--checkpoint-key", &secret]).await;
    report.equal("the secret is no public key", given.code, FAULTY);
    report.holds(
        "and it is said so",
        given.stdout.join("\n").contains("the secret of its key"),
    );
    let log = keyed.stderr().join("\n");
    report.holds("no log has the secret", !log.contains(&secret));
    for wrong in ["11", "zz"] {
        let refused = world.failed_start(&[("AUDIT_CHECKPOINT_KEY", wrong)]).await;
        report.equal(wrong, refused.code, Some(78));
        report.holds(
            "it says which",
            refused.stderr.join("\n").contains("AUDIT_CHECKPOINT_KEY"),
        );
    }
    report.finish();
}
