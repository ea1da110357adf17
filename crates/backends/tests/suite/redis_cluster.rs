//! Cluster: each key's primary is followed, through failovers and when slots move.

use std::sync::Arc;
use std::time::Duration;

use admission::limits::OwnEndpoint;
use admission::ports::Clock;
use backends::audit_stream::RedisAuditStream;
use backends::component::Component;
use backends::redis::{Link, RedisConfig, RedisConnector, Shard, Topology};
use evidence::{Shipment, StreamSink as _};
use redis::streams::StreamRangeReply;
use testkit::clock::FixedClock;
use testkit::postgres::{Database, Layout};
use testkit::redis::{Cluster, PrivateRedis};
use testkit::tls::Ca;
use testkit::wait::until;
use tokio_util::sync::CancellationToken;

use crate::support::{Background, Revocation, cluster_config, publish, redis_config};

const AUDIT: &str = "caracal.audit.events";

fn connector(config: &RedisConfig) -> Component<RedisConnector> {
    RedisConnector::component(config).unwrap()
}

/// Appends events to the audit stream of a cluster.
struct Sink {
    sink: Arc<RedisAuditStream>,
    redis: RedisConnector,
    /// Those that were accepted, in their order.
    accepted: Vec<String>,
    _background: Background,
}

impl Sink {
    fn start(config: &RedisConfig, min_replicas: u32) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(FixedClock::default());
        let mut background = Background::default();
        let redis = connector(config);
        background.run_tasks(redis.tasks);
        let limit = Duration::from_secs(5);
        let redis = redis.port;
        let sink = RedisAuditStream::component(redis.clone(), limit, min_replicas, 0, clock);
        background.run_tasks(sink.tasks);
        Self {
            sink: sink.port,
            redis,
            accepted: Vec::new(),
            _background: background,
        }
    }

    /// Sends an event until it is accepted.
    async fn append(&mut self, id: &str) {
        until("an event to be accepted", async || {
            let event = Shipment {
                id: id.to_owned(),
                data: "{}".into(),
                sig: None,
            };
            (self.sink.append(&[event]).await.ok()? == 1).then_some(())
        })
        .await;
        self.accepted.push(id.to_owned());
    }

    /// Whether every accepted event is there, in order; an event of which nobody knew may be there twice.
    async fn assert_all_in(&self, cluster: &Cluster) {
        let mut found = events(cluster).await;
        found.dedup();
        assert_eq!(found, self.accepted);
    }
}

/// The ids of the events that the primary of their stream holds.
async fn events(cluster: &Cluster) -> Vec<String> {
    let mut range = redis::cmd("XRANGE");
    range.arg(AUDIT).arg("-").arg("+");
    let mut connection = cluster.connection_for(AUDIT).await;
    let found: StreamRangeReply = range.query_async(&mut connection).await.unwrap();
    let id = |entry: &redis::streams::StreamId| entry.get("id").unwrap();
    found.ids.iter().map(id).collect()
}

/// The ports that the gateway counts as its own.
fn own_ports(redis: &RedisConnector) -> Vec<u16> {
    let endpoints = redis.endpoints().borrow().clone();
    let port = |endpoint: &OwnEndpoint| match endpoint {
        OwnEndpoint::Net(_, port) | OwnEndpoint::Host(_, port) | OwnEndpoint::Name(_, port) => *port,
    };
    let mut ports: Vec<u16> = endpoints.iter().map(port).collect();
    ports.sort_unstable();
    ports
}

fn ports(cluster: &Cluster) -> Vec<u16> {
    let mut ports: Vec<u16> = cluster.nodes.iter().map(PrivateRedis::port).collect();
    ports.sort_unstable();
    ports
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_follow_their_stream_through_failovers_and_moves() {
    let mut cluster = Cluster::start().await;
    let slot = cluster.slot(AUDIT).await;
    let first = cluster.primary_of(slot).await;
    let mut sink = Sink::start(&cluster_config(&cluster, &[0]), 1);
    sink.append("before").await;

    cluster.nodes[first].kill().await;
    cluster.promoted(slot, first).await;
    cluster.nodes[first].restart().await;
    sink.append("promoted").await;
    sink.assert_all_in(&cluster).await;

    cluster.fail_over_to(first).await;
    sink.append("back").await;
    sink.assert_all_in(&cluster).await;
    assert_eq!(cluster.primary_of(slot).await, first);

    let other = cluster.another_primary(slot).await;
    cluster.begin_move(slot, other).await;
    sink.append("moving").await;
    cluster.end_move(slot, other).await;
    sink.append("moved").await;
    assert_eq!(cluster.primary_of(slot).await, other);
    sink.assert_all_in(&cluster).await;
}

/// Nobody tells it at once that it was replaced, so it goes on taking writes, which are lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn primary_that_was_cut_off_does_not_lead_back() {
    let mut cluster = Cluster::start().await;
    let slot = cluster.slot(AUDIT).await;
    let first = cluster.primary_of(slot).await;
    let old = cluster.nodes[first].port();
    let mut sink = Sink::start(&cluster_config(&cluster, &[first]), 0);
    sink.append("before").await;
    let mut topology = sink.redis.topology().unwrap();
    let primary = |topology: &Arc<Topology>| Some(topology.shard_of(slot)?.address().1);
    topology.wait_for(|now| primary(now) == Some(old)).await.unwrap();

    cluster.nodes[first].pause();
    let other = |now: &Arc<Topology>| primary(now).is_some_and(|port| port != old);
    topology.wait_for(other).await.unwrap();
    cluster.nodes[first].resume();
    sink.append("after").await;
    cluster.promoted(slot, first).await;
    sink.append("later").await;
    sink.assert_all_in(&cluster).await;
    assert_ne!(primary(&topology.borrow()), Some(old));
}

#[tokio::test]
async fn every_node_is_the_gateways_own_whichever_is_listed_and_also_while_it_is_gone() {
    let mut cluster = Cluster::start().await;
    let redis = connector(&cluster_config(&cluster, &[4]));
    let mut background = Background::default();
    background.run_tasks(redis.tasks);
    until("every node to be known", async || {
        (own_ports(&redis.port) == ports(&cluster)).then_some(())
    })
    .await;
    // The listed one and a primary die: the others still name them.
    cluster.nodes[4].kill().await;
    cluster.nodes[0].kill().await;
    let first = *cluster.share(0).start();
    cluster.promoted(first, 0).await;
    let mut sink = Sink::start(&cluster_config(&cluster, &[3]), 0);
    sink.append("after").await;
    assert_eq!(own_ports(&redis.port), ports(&cluster));
    assert_eq!(
        redis.port.topology().unwrap().borrow().shards().len(),
        3,
        "who serves the slots is known all the same"
    );
}

#[tokio::test]
async fn shards_and_their_slots_are_told_and_a_promotion_too() {
    let mut cluster = Cluster::start().await;
    let redis = connector(&cluster_config(&cluster, &[1, 2]));
    let mut background = Background::default();
    background.run_tasks(redis.tasks);
    let mut topology = redis.port.topology().unwrap();
    let known = topology.wait_for(|topology| !topology.shards().is_empty()).await;
    let known = Arc::clone(&known.unwrap());
    let shown: Vec<_> = known
        .shards()
        .iter()
        .map(|shard| (shard.address().1, shard.slots().to_vec()))
        .collect();
    let expect: Vec<_> = (0..3)
        .map(|index| (cluster.nodes[index].port(), vec![cluster.share(index)]))
        .collect();
    assert_eq!(shown, expect);

    cluster.nodes[1].kill().await;
    let slot = *cluster.share(1).start();
    let promoted = cluster.promoted(slot, 1).await;
    let port = cluster.nodes[promoted].port();
    let serves = |shard: &Shard| shard.address().1 == port;
    let told = topology.wait_for(|topology| topology.shard_of(slot).is_some_and(serves));
    told.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revocations_of_every_stream_are_in_force_before_and_after_their_shard_fails_over_or_moves() {
    const ZONE: (&str, &str) = ("zone_id", "zone-1");
    let mut cluster = Cluster::start().await;
    let database = Database::create(Layout::August).await;
    let config = cluster_config(&cluster, &[0, 1, 2]);
    let mut revocation = Revocation::over(connector(&config), &database.owner_url());
    revocation.settle("any", "clear").await;

    let revoke = async |revocation: &mut Revocation, cluster: &Cluster, name: &str| {
        let id = |kind: &str, stream: &str| format!("{kind}-{name}-{stream}");
        let (session, edge) = (id("session", "agents"), id("edge", "delegations"));
        let (root, zone) = (id("root", "sessions"), id("zone", "keys"));
        let messages: [(&str, &[(&str, &str)]); 4] = [
            ("caracal.sessions.revoke", &[ZONE, ("session_id", &root)]),
            (
                "caracal.agents.lifecycle",
                &[ZONE, ("event", "terminate"), ("agent_session_id", &session)],
            ),
            (
                "caracal.delegations.invalidate",
                &[ZONE, ("event", "edge_revoke"), ("edge_id", &edge)],
            ),
            ("caracal.keys.invalidate", &[("zone_id", &zone)]),
        ];
        for (stream, fields) in messages {
            publish(&mut cluster.connection_for(stream).await, stream, fields).await;
        }
        for stream in ["sessions", "agents", "delegations"] {
            revocation.settle(&format!("{name}-{stream}"), "revoked").await;
        }
        assert_eq!(revocation.refetched.recv().await, Some(zone), "{name}");
        revocation.settle("any", "clear").await;
    };
    revoke(&mut revocation, &cluster, "first").await;
    // The streams lie in the first and in the last shard.
    for shard in [0, 2] {
        cluster.nodes[shard].kill().await;
        cluster.promoted(*cluster.share(shard).start(), shard).await;
        cluster.nodes[shard].restart().await;
    }
    revoke(&mut revocation, &cluster, "promoted").await;
    let slot = cluster.slot("caracal.agents.lifecycle").await;
    cluster.move_slot(slot, 1).await;
    revoke(&mut revocation, &cluster, "moved").await;
    for name in ["first", "promoted", "moved"] {
        assert_eq!(revocation.standing(&format!("{name}-sessions")), "revoked");
    }
}

#[tokio::test]
async fn messages_that_one_shard_lost_are_a_gap_until_the_next_snapshot() {
    let mut cluster = Cluster::start_sized(3, 0).await;
    let database = Database::create(Layout::August).await;
    let config = cluster_config(&cluster, &[0]);
    let revocation = Revocation::over(connector(&config), &database.owner_url());
    revocation.settle("any", "clear").await;
    let stream = "caracal.sessions.revoke";
    let fields = [("zone_id", "zone-1"), ("session_id", "root-known")];
    publish(&mut cluster.connection_for(stream).await, stream, &fields).await;
    revocation.settle("known", "revoked").await;

    let shard = cluster.primary_of(cluster.slot(stream).await).await;
    cluster.nodes[shard].kill().await;
    database.set_authority("zone-1", "sid-lost", "revoked").await;
    cluster.nodes[shard].restart().await;
    until("the gap to be noticed", async || {
        (revocation.state.counters().gaps >= 1).then_some(())
    })
    .await;
    revocation.settle("lost", "revoked").await;
    revocation.settle("known", "revoked").await;
    revocation.settle("any", "clear").await;
}

#[tokio::test]
async fn nodes_are_followed_over_tls() {
    let ca = Ca::new();
    let cluster = Cluster::start_tls(&ca).await;
    let mut config = cluster_config(&cluster, &[0]);
    config.tls.authorities = Some(ca.pem().as_bytes().to_vec());
    let mut sink = Sink::start(&config, 1);
    sink.append("before").await;
    let slot = cluster.slot(AUDIT).await;
    cluster.fail_over_to(cluster.primary_of(slot).await + 3).await;
    sink.append("after").await;
    sink.assert_all_in(&cluster).await;
}

#[tokio::test]
async fn clusters_that_cannot_be_used_say_why_and_tell_no_secret() {
    let cluster = Cluster::start_sized(1, 0).await;
    let single = PrivateRedis::start().await;
    let at = |url: &str| RedisConfig {
        servers: backends::redis::RedisServers::Cluster {
            seeds: vec![url.parse().unwrap()],
        },
        ..redis_config("redis://unused")
    };
    let good = cluster.nodes[0].url();
    let poor = [
        "ACL", "SETUSER", "poor", "on", ">secret", "~*", "+@all", "-cluster",
    ];
    let () = cluster.ask(0, &poor).await;
    let port = cluster.nodes[0].port();
    for (name, config, expect) in [
        ("no cluster", at(&single.url()), "cluster-enabled no"),
        (
            "password",
            at(&good.replace(cluster.nodes[0].password(), "wrong-secret")),
            "redis connect",
        ),
        (
            "rights",
            at(&format!("redis://poor:secret@127.0.0.1:{port}")),
            "cluster|nodes",
        ),
        ("nobody", at("redis://127.0.0.1:1"), "refused"),
    ] {
        let redis = connector(&config);
        let mut background = Background::default();
        background.run_tasks(redis.tasks);
        let link = Link::new("a", redis.port.for_key(b"a"), Arc::new(FixedClock::default()));
        background.run(Arc::clone(&link).run(CancellationToken::new()));
        let cause = until(name, async || {
            let cause = link.status().down?.to_string();
            cause.contains(expect).then_some(cause)
        })
        .await;
        assert!(!cause.contains("wrong-secret"), "{name}: {cause}");
    }
}
