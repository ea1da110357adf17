//! What happens to requests while a neighbour is away, slow or refuses to write.

use crate::report::{Refusal, Report, refusal};
use crate::world::{NONE, World, around_address};
use devstack::Devstack;
use std::collections::BTreeMap;
use std::time::Duration;
use testkit::proxy::{Fault, FaultProxy};
use testkit::wait::until;

const NO_REPLAY_STORE: Refusal = refusal(503, "authority_unavailable", "replay store unavailable");

/// A world with something that can break between the gateway and one neighbour.
async fn world_behind(variable: &'static str, environment: &[(&str, &str)]) -> (World, FaultProxy) {
    let mut proxy = None;
    let mut builder = World::builder();
    for (name, value) in environment {
        builder = builder.env(name, *value);
    }
    let world = builder
        .start_with(async |_: &Devstack, mut variables: BTreeMap<String, String>| {
            let url = variables[variable].clone();
            let (start, target, rest) = around_address(&url);
            let between = FaultProxy::start(target).await;
            variables.insert(variable.into(), format!("{start}{}{rest}", between.addr()));
            proxy = Some(between);
            variables
        })
        .await;
    (world, proxy.expect("a proxy"))
}

/// A fresh mandate is refused, before the client's patience is over, and not dispatched.
async fn refused_in_time(world: &World, report: &mut Report, case: &str, expect: Refusal) {
    let dispatched = world.dispatched();
    let response = world.get(NONE, "/").await;
    report.refused(case, &response, expect);
    report.equal(format!("{case}: dispatched"), world.dispatched(), dispatched);
}

async fn recovered(world: &World, what: &str) {
    until(&format!("recovery from {what}"), async || {
        (world.get(NONE, "/").await.status() == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn outage_of_redis_fails_closed_in_time_and_recovers_by_itself() {
    let (world, proxy) = world_behind("REDIS_URL", &[("REPLAY_TIMEOUT", "1s")]).await;
    let mut report = Report::default();
    for (case, fault) in [
        ("refused connections", Fault::Refuse),
        ("connections that hang", Fault::Hang),
        ("connections that swallow", Fault::BlackHole),
        ("answers that come late", Fault::Delay(Duration::from_secs(10))),
    ] {
        proxy.set(fault).await;
        for _ in 0..2 {
            refused_in_time(&world, &mut report, case, NO_REPLAY_STORE).await;
        }
        proxy.set(Fault::None).await;
        recovered(&world, case).await;
    }

    // A mandate that met a closed door is not spent.
    proxy.set(Fault::Refuse).await;
    let minted = world.mint(NONE);
    let response = world.present(minted.token.expose(), NONE, "/").await;
    report.refused("a closed door", &response, NO_REPLAY_STORE);
    proxy.set(Fault::None).await;
    recovered(&world, "a closed door").await;
    until("the same mandate to pass", async || {
        let response = world.present(minted.token.expose(), NONE, "/").await;
        (response.status() == 200).then_some(())
    })
    .await;
    let replayed = refusal(401, "invalid_token", "token replay detected");
    until("it to be refused once more", async || {
        let response = world.present(minted.token.expose(), NONE, "/").await;
        replayed.found_in(&response).ok()
    })
    .await;
    report.finish();
}

#[tokio::test]
async fn outage_of_writes_to_redis_fails_closed_and_recovers_by_itself() {
    let world = World::start().await;
    let mut report = Report::default();
    let mut redis = world.redis().await;
    for (case, broken, mended) in [
        (
            "a replica",
            ["REPLICAOF", "127.0.0.1", "1"].as_slice(),
            ["REPLICAOF", "NO", "ONE"].as_slice(),
        ),
        (
            "too few replicas",
            &["CONFIG", "SET", "min-replicas-to-write", "1"],
            &["CONFIG", "SET", "min-replicas-to-write", "0"],
        ),
        (
            "no memory",
            &["CONFIG", "SET", "maxmemory", "1"],
            &["CONFIG", "SET", "maxmemory", "0"],
        ),
    ] {
        let command = |words: &[&str]| {
            let mut command = redis::cmd(words[0]);
            command.arg(&words[1..]);
            command
        };
        let _: String = command(broken)
            .query_async(&mut redis)
            .await
            .expect("an answer of Redis");
        refused_in_time(&world, &mut report, case, NO_REPLAY_STORE).await;
        let _: String = command(mended)
            .query_async(&mut redis)
            .await
            .expect("an answer of Redis");
        recovered(&world, case).await;
    }
    report.finish();
}

#[tokio::test]
async fn outage_of_the_database_keeps_the_last_bindings() {
    let (world, proxy) = world_behind("DATABASE_URL", &[]).await;
    let mut report = Report::default();
    for (case, fault) in [("refused", Fault::Refuse), ("silent", Fault::BlackHole)] {
        proxy.set(fault).await;
        report.status(case, &world.get(NONE, "/").await, 200);
        let unknown = world.present(&world.token(NONE), "resource://unknown", "/").await;
        report.refused(
            format!("{case}: not bound"),
            &unknown,
            refusal(403, "access_denied", "resource not configured"),
        );
        proxy.set(Fault::None).await;
    }
    let upstream = world.stack.upstream_url().to_owned();
    let zone = crate::world::ZONE;
    let bind = world
        .database
        .bind(zone, "resource://late", &upstream, crate::world::APP);
    bind.await;
    // The STS does not know it: its refusal shows that the binding is seen again.
    until("the new binding", async || {
        let response = world.present(&world.token(NONE), "resource://late", "/").await;
        (!response.text().contains("resource not configured")).then_some(())
    })
    .await;
    report.finish();
}

#[tokio::test]
async fn outage_of_the_sts_is_told_apart_and_the_circuit_closes_again() {
    let (world, proxy) = world_behind("STS_URL", &[("STS_TIMEOUT", "4s")]).await;
    let mut report = Report::default();
    report.status("before", &world.get(NONE, "/").await, 200);
    let keys = world.stack.sts().counts().jwks;

    proxy.set(Fault::BlackHole).await;
    refused_in_time(
        &world,
        &mut report,
        "silent",
        refusal(504, "sts_unavailable", "sts timeout"),
    )
    .await;
    proxy.set(Fault::Refuse).await;
    // Signatures are still verified, under the keys that are known.
    let dispatched = world.dispatched();
    let mut answers = Vec::new();
    let unreachable = refusal(502, "sts_unavailable", "sts unavailable");
    let open = refusal(503, "sts_unavailable", "sts unavailable");
    for _ in 0..8 {
        let response = world.get(NONE, "/").await;
        let known = [unreachable, open]
            .into_iter()
            .find(|known| known.found_in(&response).is_ok());
        answers.push(known.map(|known| known.status).unwrap_or_default());
    }
    report.holds(
        format!("unreachable, then the circuit opens: {answers:?}"),
        answers[0] == 502
            && answers.last() == Some(&503)
            && answers.windows(2).all(|pair| pair[0] <= pair[1])
            && answers.iter().filter(|status| **status == 502).count() <= 5,
    );
    report.equal("dispatched", world.dispatched(), dispatched);
    let minted = world.mint(NONE);
    let response = world.present(minted.token.expose(), NONE, "/").await;
    report.refused("open circuit", &response, open);
    report.equal(
        "an open circuit does not spend",
        world.replay_mark(&minted.jti).await,
        None,
    );

    // A new gateway has no keys yet, and says so.
    let tampered = world.replica_with(&[]).await;
    let response = crate::world::present_to(tampered.addr(), &world.token(NONE), NONE, "/").await;
    report.refused(
        "no keys",
        &response,
        refusal(503, "authority_unavailable", "signing keys unavailable"),
    );

    proxy.set(Fault::None).await;
    recovered(&world, "an outage of the STS").await;
    let response = world.present(minted.token.expose(), NONE, "/").await;
    report.status("the same mandate later", &response, 200);
    let asked = world.stack.sts().counts().jwks - keys;
    report.holds(format!("{asked} fetches of keys"), asked <= 4);
    report.finish();
}
