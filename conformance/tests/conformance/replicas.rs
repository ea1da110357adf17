//! Several gateways behind one balancer, one Redis and one database.

use crate::report::{Report, refusal};
use crate::revocation::REVOKE;
use crate::sentinel;
use crate::world::{NONE, World, ZONE, present_to};
use std::collections::BTreeMap;
use std::sync::Arc;
use testkit::balancer::Balancer;
use testkit::http::{Connection, Response};
use testkit::redis::Sentinels;
use testkit::wait::until;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

const PARALLEL: usize = 1000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_let_one_of_a_thousand_parallel_uses_pass() {
    // All of them get as far as the replay mark.
    let world = World::builder().env("STS_MAX_INFLIGHT", "2000").start().await;
    let (second, third) = tokio::join!(world.replica(), world.replica());
    let balancer = Balancer::start(vec![world.addr(), second.addr(), third.addr()]).await;
    let mut report = Report::default();
    for addr in [world.addr(), second.addr(), third.addr()] {
        let warm = present_to(addr, &world.token(NONE), NONE, "/").await;
        report.status("keys are at hand", &warm, 200);
    }
    let before = world.dispatched();
    let exchanges = world.stack.sts().counts().exchanges;
    let mut uses = use_in_parallel(&balancer, world.token(NONE));
    let replayed = refusal(401, "invalid_token", "token replay detected");
    let mut statuses = BTreeMap::<u16, usize>::new();
    while let Some(answer) = uses.join_next().await {
        let answer = answer.expect("an answer");
        *statuses.entry(answer.status()).or_default() += 1;
        if answer.status() != 200 {
            report.refused("another use", &answer, replayed);
        }
    }
    report.equal(
        "answers",
        statuses,
        BTreeMap::from([(200, 1), (401, PARALLEL - 1)]),
    );
    report.equal("requests at the upstream", world.dispatched() - before, 1);
    report.equal("exchanges", world.stack.sts().counts().exchanges - exchanges, 1);
    report.finish();
}

/// A thousand uses of one mandate at the same time, each on a connection of its own.
fn use_in_parallel(balancer: &Balancer, token: String) -> JoinSet<Response> {
    let token = Arc::new(token);
    let ready = Arc::new(Barrier::new(PARALLEL));
    let mut uses = JoinSet::new();
    for _ in 0..PARALLEL {
        let (token, ready, addr) = (Arc::clone(&token), Arc::clone(&ready), balancer.addr());
        uses.spawn(async move {
            let mut connection = Connection::open(addr).await;
            ready.wait().await;
            let head = format!(
                "GET / HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer {token}\r\nX-Caracal-Resource: {NONE}\r\n\r\n"
            );
            connection.exchange(head).await
        });
    }
    uses
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_let_no_mandate_pass_twice_while_redis_fails_over() {
    let group = Sentinels::start(1).await;
    let world = sentinel::world(&group).await;
    let (second, third) = tokio::join!(world.replica(), world.replica());
    let balancer = Balancer::start(vec![world.addr(), second.addr(), third.addr()]).await;
    let mut report = Report::default();
    let passed = async |token: String| {
        let answers = use_in_parallel(&balancer, token).join_all().await;
        answers.iter().filter(|answer| answer.status() == 200).count()
    };
    let before = world.dispatched();
    let used = until("a mandate to pass once", async || {
        let token = world.token(NONE);
        (passed(token.clone()).await == 1).then_some(token)
    })
    .await;
    let during = world.token(NONE);
    let (twice, uses, _promoted) =
        tokio::join!(passed(used.clone()), passed(during.clone()), group.fail_over());
    report.equal("more uses of it during the failover", twice, 0);
    report.holds(format!("{uses} uses passed during the failover"), uses <= 1);
    report.equal("more uses of it after the failover", passed(used).await, 0);
    let again = passed(during).await;
    report.holds(format!("{again} more passed after it"), uses + again <= 1);
    let after = until("a mandate to pass again", async || {
        Some(passed(world.token(NONE)).await).filter(|uses| *uses > 0)
    })
    .await;
    report.equal("uses of one after it", after, 1);
    let dispatched = world.dispatched() - before;
    report.equal(
        "requests at the upstream",
        dispatched,
        (1 + uses + again + after) as u64,
    );
    report.finish();
}

#[tokio::test]
async fn replicas_all_hear_of_one_revocation() {
    let world = World::start().await;
    let (second, third) = tokio::join!(world.replica(), world.replica());
    let mut report = Report::default();
    let revoked = world.mint(NONE);
    world
        .publish(
            REVOKE,
            &[
                ("zone_id", ZONE),
                ("session_id", revoked.sid.as_str()),
                ("reason", "test"),
            ],
        )
        .await;
    let expect = refusal(401, "invalid_token", "session revoked");
    for (name, addr) in [
        ("first", world.addr()),
        ("second", second.addr()),
        ("third", third.addr()),
    ] {
        // Every mandate of the session is refused, also those that were never used.
        until(name, async || {
            let fresh = world.mandate_with(NONE, |claims| {
                claims.insert("sid".into(), revoked.sid.as_str().into());
            });
            let answer = present_to(addr, &fresh, NONE, "/").await;
            expect.found_in(&answer).ok()
        })
        .await;
        let answer = present_to(addr, revoked.token.expose(), NONE, "/").await;
        report.refused(name, &answer, expect);
    }
    report.finish();
}
