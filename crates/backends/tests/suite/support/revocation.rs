//! A revocation state over real servers, and messages for it.

use std::sync::Arc;
use std::time::Duration;

use admission::ports::{Clock as _, Mandate, Revocations as _};
use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
use backends::component::Component;
use backends::redis::RedisConnector;
use backends::revocation::{RevocationConfig, RevocationState, Snapshots, StreamReader, StreamsKey};
use testkit::clock::FixedClock;
use testkit::wait::until;
use tokio_util::sync::CancellationToken;

use super::{Background, database, redis};
use crate::contract::revocations::{anchors, mandate, of, standing, word};

/// `STREAMS_HMAC_KEY` in these tests.
pub(crate) const STREAMS_KEY: &[u8] = &[42; 32];

/// A revocation state with its streams and snapshots.
pub(crate) struct Revocation {
    pub(crate) state: RevocationState,
    pub(crate) clock: FixedClock,
    pub(crate) refetched: tokio::sync::mpsc::UnboundedReceiver<String>,
    _background: Background,
}

impl Revocation {
    /// How a request stands whose anchors have this name.
    pub(crate) fn standing(&self, name: &str) -> &'static str {
        standing(&self.state, &anchors(name), self.clock.now())
    }

    /// The same of a mandate of this zone, of this age in seconds.
    pub(crate) fn standing_in(&self, zone: &str, name: &str, age: i64) -> &'static str {
        let (ids, now) = (anchors(name), self.clock.now());
        let young = mandate(of(&ids), now);
        let aged = Mandate {
            zone,
            issued_at: young.issued_at.map(|issued| issued - age),
            ..young
        };
        word(&self.state.standing(&aged, now))
    }

    /// Waits until a request with these anchors stands so.
    pub(crate) async fn settle(&self, name: &str, expect: &str) {
        until(&format!("{name} to be {expect}"), async || {
            (self.standing(name) == expect).then_some(())
        })
        .await;
    }

    /// Snapshots come only on demand, unless `every` says otherwise.
    pub(crate) fn start(redis_url: &str, database_url: &str, every: Duration) -> Self {
        Self::bounded(redis_url, database_url, every, RevocationConfig::default())
    }

    /// With the bounds of this configuration.
    pub(crate) fn bounded(
        redis_url: &str,
        database_url: &str,
        every: Duration,
        bounds: RevocationConfig,
    ) -> Self {
        Self::complete(Component::new(redis(redis_url)), database_url, every, bounds)
    }

    /// With streams that lie wherever this leads.
    pub(crate) fn over(redis: Component<RedisConnector>, database_url: &str) -> Self {
        Self::complete(redis, database_url, ON_DEMAND, RevocationConfig::default())
    }

    fn complete(
        redis: Component<RedisConnector>,
        database_url: &str,
        every: Duration,
        bounds: RevocationConfig,
    ) -> Self {
        let clock = FixedClock::default();
        let config = RevocationConfig {
            snapshot_every: every,
            snapshot_pause: Duration::from_millis(10),
            ..bounds
        };
        let state = RevocationState::new(config, Arc::new(clock.clone()));
        let mut background = Background::default();
        background.run_tasks(redis.tasks);
        let (zones, refetched) = tokio::sync::mpsc::unbounded_channel();
        let keys_invalidated = Box::new(move |zone: &str| zones.send(zone.to_owned()).unwrap());
        let key = StreamsKey::new(STREAMS_KEY);
        let streams = StreamReader::new(&state, redis.port, key, keys_invalidated);
        let snapshots = Snapshots::new(&state, database(database_url));
        background.run(streams.run(CancellationToken::new()));
        background.run(snapshots.run(CancellationToken::new()));
        Self {
            state,
            clock,
            refetched,
            _background: background,
        }
    }
}

/// An interval that never comes in a test.
pub(crate) const ON_DEMAND: Duration = Duration::from_secs(3600);

/// Writes a signed message; returns its id.
pub(crate) async fn publish(
    redis: &mut ::redis::aio::MultiplexedConnection,
    stream: &str,
    fields: &[(&str, &str)],
) -> String {
    let signature = signature(stream, fields);
    let mut signed = fields.to_vec();
    signed.push(("_sig", &signature));
    add(redis, stream, &signed).await
}

/// Writes a message as it is.
pub(crate) async fn add(
    redis: &mut ::redis::aio::MultiplexedConnection,
    stream: &str,
    fields: &[(&str, &str)],
) -> String {
    let mut command = ::redis::cmd("XADD");
    command.arg(stream).arg("*").arg(fields);
    command.query_async(redis).await.unwrap()
}

fn signature(stream: &str, fields: &[(&str, &str)]) -> String {
    let mut sorted = fields.to_vec();
    sorted.sort_unstable();
    let mut text = format!("{stream}\n");
    for (name, value) in sorted {
        text.push_str(&format!("{name}={value}\n"));
    }
    let tag = sign(&Key::new(HMAC_SHA256, STREAMS_KEY), text.as_bytes());
    tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
