//! Several gateways behind one balancer, one Redis and one database.

use crate::report::{Report, refusal};
use crate::revocation::{REVOKE, again, now, silent_stream_at};
use crate::sentinel;
use crate::world::{NONE, World, ZONE, present_to};
use std::collections::BTreeMap;
use std::sync::Arc;
use testkit::balancer::Balancer;
use testkit::http::{Connection, Ending, Piece, Response};
use testkit::redis::Sentinels;
use testkit::wait::until;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

const PARALLEL: usize = 1000;
const REVOCATIONS: usize = 100;

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

/// The order of events is judged: where a stream was cut the session is refused. How long it took is printed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_cut_the_streams_of_a_revoked_session_and_refuse_it_from_then_on() {
    let world = World::start().await;
    let (second, third) = tokio::join!(world.replica(), world.replica());
    let replicas = [world.addr(), second.addr(), third.addr()];
    let mut redis = world.redis().await;
    let mut report = Report::default();
    let mut times = Vec::new();
    for number in 0..REVOCATIONS {
        let minted = world.mint(NONE);
        let [one, two, three] = replicas.map(|addr| {
            let token = again(&world, &minted);
            async move { silent_stream_at(addr, &token, "").await }
        });
        let (mut one, mut two, mut three) = tokio::join!(one, two, three);
        let fields = [("zone_id", ZONE), ("session_id", minted.sid.as_str())];
        let published = now();
        let ends = async { tokio::join!(one.piece(), two.piece(), three.piece()) };
        let (ends, ()) = tokio::join!(ends, world.publish_over(&mut redis, REVOKE, &fields));
        times.push(published.elapsed());
        for (addr, end) in replicas.into_iter().zip([ends.0, ends.1, ends.2]) {
            let is_cut = matches!(end, Piece::End(Ending::Truncated | Ending::Reset, _));
            report.holds(format!("{number}: the stream ended as {end:?}"), is_cut);
            let next = present_to(addr, &again(&world, &minted), NONE, "/").await;
            let expect = refusal(401, "invalid_token", "session revoked");
            report.refused(format!("{number}: after it"), &next, expect);
        }
    }
    times.sort_unstable();
    let ms = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize].as_secs_f64() * 1e3;
    println!(
        "from XADD to the end of the last of three replicas' streams: p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms of {}",
        ms(0.5),
        ms(0.99),
        ms(1.0),
        times.len()
    );
    report.finish();
}
