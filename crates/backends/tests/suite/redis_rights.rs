//! The rights that `docs/redis.md` grants are enough, over every way to one server.

use std::sync::Arc;
use std::time::Duration;

use backends::audit_reader::AuditReader;
use backends::audit_stream::RedisAuditStream;
use backends::component::Component;
use backends::redis::{Link, RedisConnector};
use evidence::{Shipment, StreamSink as _};
use testkit::clock::FixedClock;
use testkit::postgres::{Database, Layout};
use testkit::redis::{PrivateRedis, Sentinels};
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
        let event = Shipment {
            id: name.to_owned(),
            data: "{}".into(),
            sig: None,
        };
        assert_eq!(sink.append(&[event]).await.unwrap(), 1, "{name}");
        let mut reader = AuditReader::connect(&redis(&url), Duration::from_secs(15))
            .await
            .unwrap();
        let entries = reader.after(AuditReader::START).await.unwrap();
        let last = entries.last().unwrap();
        assert_eq!((last.id.as_str(), &last.data[..]), (name, &b"{}"[..]));
        assert_eq!(reader.last().await.unwrap(), last.entry);
        assert_eq!(reader.after(&last.entry).await.unwrap(), []);

        let revocation = Revocation::start(&url, &database.owner_url(), ON_DEMAND);
        revocation.settle(name, "clear").await;
        let session = format!("sid-{name}");
        let fields = [("zone_id", "zone-1"), ("session_id", session.as_str())];
        publish(&mut admin, "caracal.sessions.revoke", &fields).await;
        revocation.settle(name, "revoked").await;
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
