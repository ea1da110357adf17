//! Redis behind sentinels: a failover in the middle of traffic.

use crate::egress::{REFUSED, bind, judge};
use crate::report::Report;
use crate::traffic::Traffic;
use crate::world::{NONE, World};
use std::sync::Arc;
use testkit::redis::Sentinels;
use testkit::wait::until;

pub(crate) async fn world(group: &Sentinels) -> World {
    let (user, password) = group.login();
    World::builder()
        .env("REDIS_URL", group.url())
        .env("REDIS_SENTINEL_USERNAME", user)
        .env("REDIS_SENTINEL_PASSWORD", password)
        .env("REPLAY_MIN_REPLICAS", "1")
        .env("REPLAY_TIMEOUT", "2s")
        .start()
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinel_failover_under_traffic_dispatches_no_mandate_twice_and_needs_no_restart() {
    let mut group = Sentinels::start(3).await;
    let world = Arc::new(world(&group).await);
    let mut report = Report::default();
    report.status("before", &world.get(NONE, "/x").await, 200);

    let before = world.dispatched();
    let traffic = Traffic::start(&world);
    // The old primary stays well, and goes on taking writes.
    let second = group.fail_over().await;
    traffic.passes_again().await;
    // The next one dies.
    group.servers[second].kill().await;
    group.promoted(second).await;
    traffic.passes_again().await;
    let (allowed, twice) = traffic.stop().await;

    report.equal("mandates used twice", twice, 0);
    let dispatched = world.dispatched() - before;
    report.equal("dispatched", usize::try_from(dispatched).ok(), Some(allowed));
    report.holds(format!("{allowed} uses were let through"), allowed > 2);
    report.finish();
}

#[tokio::test]
async fn sentinel_replica_that_is_gone_makes_the_gateway_not_ready_without_traffic() {
    let mut group = Sentinels::start(1).await;
    let world = world(&group).await;
    let ready = async || testkit::http::get(world.addr(), "/ready", &[]).await;
    let mut report = Report::default();
    report.status("before", &ready().await, 200);
    group.servers[1].kill().await;
    let told = until("/ready to say so", async || {
        let answer = ready().await;
        (answer.status() == 503).then(|| answer.json())
    })
    .await;
    report.equal("reason", told["reason"].as_str(), Some("redis_unreachable"));
    group.servers[1].restart().await;
    until("/ready to be well", async || {
        (ready().await.status() == 200).then_some(())
    })
    .await;
    report.finish();
}

#[tokio::test]
async fn sentinels_and_the_primary_that_they_name_are_never_upstreams() {
    let group = Sentinels::start(1).await;
    let world = world(&group).await;
    let mut report = Report::default();
    let ports = group.ports().into_iter().chain([group.servers[0].port()]);
    let urls: Vec<_> = ports.map(|port| format!("http://127.0.0.1:{port}")).collect();
    bind(&world, &urls).await;
    judge(&mut report, &world, world.addr(), &urls, |_| REFUSED).await;
    report.finish();
}
