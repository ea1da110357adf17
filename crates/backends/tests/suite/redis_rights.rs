//! The rights that `docs/redis.md` grants are enough, over every way to one server.

use std::sync::Arc;
use std::time::Duration;

use backends::audit_reader::AuditReader;
use backends::audit_stream::RedisAuditStream;
use backends::component::Component;
use backends::redis::{Link, RedisConfig, RedisConnector, RedisServers};
use evidence::{Shipment, StreamSink as _};
use testkit::clock::FixedClock;
use testkit::postgres::{Database, Layout};
use testkit::redis::{Cluster, PrivateRedis, Sentinels};
use testkit::wait::until;
use tokio_util::sync::CancellationToken;

use crate::contract::replay::{mark, set};
use crate::support::{Background, ON_DEMAND, Replay, Revocation, publish, redis, redis_config};

const PAGE: &str = include_str!("../../../../docs/redis.md");

/// The words of the page's command for this user, with a password.
fn rule(user: &str) -> Vec<String> {
    let start = format!("ACL SETUSER {user} ");
    let line = PAGE.lines().find(|line| line.starts_with(&start)).unwrap();
    let words = line.split_whitespace().skip(1);
    words.map(|word| word.replace("PASSWORD", "secret")).collect()
}

/// What the page adds for a cluster.
fn cluster_rule() -> Vec<String> {
    let start = "+cluster|";
    let line = PAGE.lines().find(|line| line.starts_with(start)).unwrap();
    line.split_whitespace().map(str::to_owned).collect()
}

fn event(id: &str) -> Shipment {
    Shipment {
        id: id.to_owned(),
        data: "{}".into(),
        sig: None,
    }
}

#[tokio::test]
async fn documented_rights_are_enough_for_every_purpose_and_protocol() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("redis.sock");
    let server = PrivateRedis::start_configured(&format!("unixsocket {}", socket.display())).await;
    let mut admin = server.connection().await;
    let () = redis::cmd("ACL")
        .arg(rule("gateway"))
        .query_async(&mut admin)
        .await
        .unwrap();
    let tcp = format!("redis://gateway:secret@127.0.0.1:{}/0", server.port());
    let database = Database::create(Layout::StandAlone).await;
    for (name, url) in [
        ("resp2", tcp.clone()),
        ("resp3", format!("{tcp}?protocol=resp3")),
        (
            "socket",
            format!("unix://{}?user=gateway&pass=secret&db=0", socket.display()),
        ),
    ] {
        let connector = RedisConnector::new(&redis_config(&url)).unwrap();
        let replay = Replay::at_sentinels(Component::new(connector));
        assert_eq!(set(replay.port(), &mark(name, "a")).await, "set", "{name}");
        assert_eq!(set(replay.port(), &mark(name, "b")).await, "seen", "{name}");
        replay.port().release(mark(name, "a"));
        until("the mark to be released", async || {
            (set(replay.port(), &mark(name, "b")).await == "set").then_some(())
        })
        .await;

        let link = Link::new("audit", redis(&url), Arc::new(FixedClock::default()));
        let mut background = Background::default();
        background.run(Arc::clone(&link).run(CancellationToken::new()));
        let sink = RedisAuditStream::new(link, Duration::from_secs(15)).bounded_by(1000);
        assert_eq!(sink.append(&[event(name)]).await.unwrap(), 1, "{name}");
        expect_last(&redis(&url), name).await;

        let revocation = Revocation::start(&url, &database.owner_url(), ON_DEMAND);
        revocation.settle(name, "clear").await;
        let session = format!("sid-{name}");
        let fields = [("zone_id", "zone-1"), ("session_id", session.as_str())];
        publish(&mut admin, "caracal.sessions.revoke", &fields).await;
        revocation.settle(name, "revoked").await;
    }
}

/// Whoever reads the audit stream finds this event at its end.
async fn expect_last(redis: &RedisConnector, id: &str) {
    let mut reader = AuditReader::connect(redis, Duration::from_secs(15))
        .await
        .unwrap();
    let entries = reader.after(AuditReader::START).await.unwrap();
    let last = entries.last().unwrap();
    assert_eq!((last.id.as_str(), &last.data[..]), (id, &b"{}"[..]));
    assert_eq!(reader.last().await.unwrap(), last.entry);
    assert_eq!(reader.after(&last.entry).await.unwrap(), []);
}

#[tokio::test]
async fn documented_rights_are_enough_in_a_cluster_over_every_protocol() {
    let cluster = Cluster::start_sized(3, 0).await;
    let rule = [rule("gateway"), cluster_rule()].concat();
    let mut words = vec!["ACL"];
    words.extend(rule.iter().map(String::as_str));
    for index in 0..cluster.nodes.len() {
        let () = cluster.ask(index, &words).await;
    }
    let database = Database::create(Layout::StandAlone).await;
    let stream = "caracal.sessions.revoke";
    for protocol in ["resp2", "resp3"] {
        let port = cluster.nodes[0].port();
        let url = format!("redis://gateway:secret@127.0.0.1:{port}?protocol={protocol}");
        let config = RedisConfig {
            servers: RedisServers::Cluster {
                seeds: vec![url.parse().unwrap()],
            },
            ..redis_config(&url)
        };
        let connector = || RedisConnector::component(&config).unwrap();
        let mut background = Background::default();
        let redis = connector();
        background.run_tasks(redis.tasks);
        let reader = redis.port.clone();
        let (limit, clock) = (Duration::from_secs(15), Arc::new(FixedClock::default()));
        let sink = RedisAuditStream::component(redis.port, limit, 0, 1000, clock);
        background.run_tasks(sink.tasks);
        assert_eq!(
            sink.port.append(&[event(protocol)]).await.unwrap(),
            1,
            "{protocol}"
        );
        expect_last(&reader, protocol).await;

        let revocation = Revocation::over(connector(), &database.owner_url());
        revocation.settle(protocol, "clear").await;
        let root = format!("root-{protocol}");
        let fields = [("zone_id", "zone-1"), ("session_id", root.as_str())];
        publish(&mut cluster.connection_for(stream).await, stream, &fields).await;
        revocation.settle(protocol, "revoked").await;
    }
}

#[tokio::test]
async fn documented_rights_at_sentinels_are_those_of_every_sentinel_here() {
    let page = rule("watcher").join(" ");
    let [_, rights] = page
        .split_once("secret ")
        .map(|(user, rights)| [user, rights])
        .unwrap();
    assert_eq!(rights, Sentinels::RIGHTS);
}
