//! Redis behind sentinels: a failover in the middle of traffic.

use crate::egress::{REFUSED, bind, judge};
use crate::report::Report;
use crate::traffic::Traffic;
use crate::world::{NONE, World, present_to};
use std::sync::Arc;
use testkit::proxy::{Fault, FaultProxy};
use testkit::redis::Sentinels;
use testkit::wait::until;

pub(crate) async fn world(group: &Sentinels) -> World {
    world_at(group, group.url()).await
}

async fn world_at(group: &Sentinels, url: String) -> World {
    let (user, password) = group.login();
    World::builder()
        .env("REDIS_URL", url)
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

/// A proxy in front of each sentinel, and the URL that leads through them.
async fn through_proxies(group: &Sentinels) -> (Vec<FaultProxy>, String) {
    let (mut proxies, mut url) = (Vec::new(), group.url());
    for port in group.ports() {
        let proxy = FaultProxy::start(([127, 0, 0, 1], port).into()).await;
        url = url.replace(&format!(":{port}"), &format!(":{}", proxy.port()));
        proxies.push(proxy);
    }
    (proxies, url)
}

/// Has another server promoted, and waits for a mandate that passes because of its mark there.
async fn passes_at_the_next_primary(group: &Sentinels, world: &World) {
    let promoted = group.fail_over().await;
    until("a mark at the promoted server", async || {
        let minted = world.mint(NONE);
        let answer = present_to(world.addr(), minted.token.expose(), NONE, "/").await;
        let key = format!("seen:jti:{}", minted.jti);
        let marked: bool = group.servers[promoted].ask(&["EXISTS", &key]).await;
        (answer.status() == 200 && marked).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels_that_are_away_are_not_missed_and_the_next_failover_is_followed() {
    let group = Sentinels::start(1).await;
    let (proxies, url) = through_proxies(&group).await;
    let world = world_at(&group, url).await;
    for fault in [Fault::Refuse, Fault::Hang] {
        for proxy in &proxies {
            proxy.set(fault).await;
        }
        // Every connection is made anew, at the primary that they named last.
        let () = group.servers[0].ask(&["CLIENT", "KILL", "TYPE", "normal"]).await;
        until("a mandate to pass without sentinels", async || {
            (world.get(NONE, "/x").await.status() == 200).then_some(())
        })
        .await;
    }
    for proxy in &proxies {
        proxy.set(Fault::None).await;
    }
    passes_at_the_next_primary(&group, &world).await;
    // One of them is enough to tell, and it is not the one that leads the failover.
    for proxy in &proxies[..2] {
        proxy.set(Fault::Refuse).await;
    }
    passes_at_the_next_primary(&group, &world).await;
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
