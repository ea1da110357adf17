//! Redis Cluster: failovers and moves of slots in the middle of traffic.

use crate::egress::{REFUSED, bind, judge};
use crate::report::{Report, refusal};
use crate::traffic::Traffic;
use crate::world::{NONE, World, ZONE, stream_signature};
use devstack::{MintRequest, Minted};
use std::collections::BTreeSet;
use std::sync::Arc;
use testkit::redis::Cluster;
use testkit::wait::until;

const AUDIT: &str = "caracal.audit.events";

async fn world(cluster: &Cluster) -> World {
    World::builder()
        .env("REDIS_URL", cluster.url_of(&[0, 4]))
        .env("REPLAY_MIN_REPLICAS", "1")
        .env("REPLAY_TIMEOUT", "2s")
        .start()
        .await
}

/// Publishes a signed message wherever its stream lies.
async fn publish(world: &World, cluster: &Cluster, stream: &str, fields: &[(&str, &str)]) {
    let signature = stream_signature(world.variable("STREAMS_HMAC_KEY"), stream, fields);
    let mut add = redis::cmd("XADD");
    add.arg(stream).arg("*").arg(fields).arg("_sig").arg(signature);
    let mut connection = cluster.connection_for(stream).await;
    let _: String = add.query_async(&mut connection).await.expect("an id");
}

/// A message that revokes a mandate: its stream, and its fields, the last of which names one of the mandate's anchors.
type Message<'a> = (&'a str, Vec<(&'a str, &'a str)>);

fn messages(minted: &[Minted; 3]) -> [Message<'_>; 3] {
    let [record, session, edge] = minted;
    let session = session.agent_session_id.as_deref().expect("a session");
    let edge = edge.delegation_edge_id.as_deref().expect("an edge");
    [
        (
            "caracal.sessions.revoke",
            vec![("zone_id", ZONE), ("session_id", &record.sid)],
        ),
        (
            "caracal.agents.lifecycle",
            vec![
                ("zone_id", ZONE),
                ("event", "terminate"),
                ("agent_session_id", session),
            ],
        ),
        (
            "caracal.delegations.invalidate",
            vec![("zone_id", ZONE), ("event", "edge_revoke"), ("edge_id", edge)],
        ),
    ]
}

/// Revokes by each stream, and waits until it is in force.
async fn revoke_by_every_stream(world: &World, cluster: &Cluster) {
    let minted = [world.mint(NONE), world.mint(NONE), world.mint(NONE)];
    let expect = refusal(401, "invalid_token", "session revoked");
    for ((stream, fields), minted) in messages(&minted).into_iter().zip(&minted) {
        publish(world, cluster, stream, &fields).await;
        until(stream, async || {
            let again = world.stack.mint(&MintRequest {
                sid: Some(minted.sid.clone()),
                root_sid: Some(minted.root_sid.clone()),
                agent_session_id: minted.agent_session_id.clone(),
                delegation_edge_id: minted.delegation_edge_id.clone(),
                ..world.stack.request_for(NONE)
            });
            let again = again.expect("a mandate");
            let answer = world.present(again.token.expose(), NONE, "/x").await;
            expect.found_in(&answer).ok()
        })
        .await;
    }
    let fetched = world.stack.sts().counts().jwks;
    publish(world, cluster, "caracal.keys.invalidate", &[("zone_id", ZONE)]).await;
    until("the keys to be fetched again", async || {
        world.get(NONE, "/x").await;
        (world.stack.sts().counts().jwks > fetched).then_some(())
    })
    .await;
}

/// The requests of which the audit stream says that they were let through.
async fn recorded(world: &World, cluster: &Cluster) -> usize {
    let events = world.events_at(&mut cluster.connection_for(AUDIT).await).await;
    let allowed = events.iter().filter(|event| event.text("decision") == "allow");
    let requests: BTreeSet<&str> = allowed.map(|event| event.text("request_id")).collect();
    requests.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cluster_failovers_and_moves_under_traffic_dispatch_no_mandate_twice_and_lose_no_evidence() {
    let mut cluster = Cluster::start().await;
    let world = Arc::new(world(&cluster).await);
    let mut report = Report::default();
    // Where a busy machine takes more than two seconds to read all shards for the first time, that is a loss.
    until("a mandate to pass", async || {
        (world.get(NONE, "/x").await.status() == 200).then_some(())
    })
    .await;
    revoke_by_every_stream(&world, &cluster).await;

    let before = world.dispatched();
    let traffic = Traffic::start(&world);
    // The streams lie in the first and in the last shard.
    for shard in [0, 2] {
        cluster.nodes[shard].kill().await;
        let slot = *cluster.share(shard).start();
        cluster.promoted(slot, shard).await;
        cluster.nodes[shard].restart().await;
        traffic.passes_again().await;
    }
    let slot = cluster.slot(AUDIT).await;
    cluster.move_slot(slot, 1).await;
    traffic.passes_again().await;
    let (allowed, twice) = traffic.stop().await;
    report.equal("mandates used twice", twice, 0);
    let dispatched = world.dispatched() - before;
    report.equal("dispatched", usize::try_from(dispatched).ok(), Some(allowed));
    report.holds(format!("{allowed} uses were let through"), allowed > 3);

    revoke_by_every_stream(&world, &cluster).await;
    let dispatched = usize::try_from(world.dispatched()).expect("a count");
    until("every dispatched request to be on record", async || {
        (recorded(&world, &cluster).await >= dispatched).then_some(())
    })
    .await;
    report.finish();
}

#[tokio::test]
async fn cluster_nodes_are_never_upstreams_listed_or_not() {
    let cluster = Cluster::start().await;
    let world = world(&cluster).await;
    let mut report = Report::default();
    let urls: Vec<_> = cluster
        .nodes
        .iter()
        .map(|node| format!("http://127.0.0.1:{}", node.port()))
        .collect();
    bind(&world, &urls).await;
    judge(&mut report, &world, world.addr(), &urls, |_| REFUSED).await;
    report.finish();
}
