//! The key store against the dev stack's STS: the contract, floods, outages, garbage.

use std::sync::Arc;
use std::time::Duration;

use admission::ports::{Clock, Moment};
use backends::jwks::{KeyStats, KeyStore};
use devstack::{Answer, RawAnswer, Scope, Step};
use futures_util::FutureExt as _;
use futures_util::future::join_all;
use testkit::clock::FixedClock;
use testkit::mint::{Key, jwks};
use testkit::proxy::{Fault, FaultProxy};
use testkit::wait::{PATIENCE, until};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::authority::{Authority, ZONE};
use crate::contract::signing_keys::{find, signing_keys_contract};

struct Fixture {
    authority: Authority,
    keys: KeyStore,
    kid: String,
    stop: CancellationToken,
    refresher: JoinSet<()>,
}

impl Fixture {
    async fn start() -> Self {
        let authority = Authority::start().await;
        let clock = Arc::new(authority.clock.clone());
        Self::with(authority, clock)
    }

    fn with(authority: Authority, clock: Arc<dyn Clock>) -> Self {
        let (keys, refresher) = KeyStore::new(authority.client_at(authority.addr()), clock);
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(refresher.run(stop.clone()));
        Self {
            kid: authority.stack.sts().kid(ZONE).unwrap(),
            authority,
            keys,
            stop,
            refresher: tasks,
        }
    }

    async fn find(&self, kid: &str) -> &'static str {
        find(&self.keys, ZONE, kid).await
    }

    /// Key set requests that the STS saw.
    fn asked(&self) -> u64 {
        self.authority.stack.sts().counts().jwks
    }

    async fn until(&self, what: &str, wanted: impl Fn(KeyStats) -> bool) {
        until(what, async || wanted(self.keys.stats()).then_some(())).await;
    }

    fn answer(&self, answer: impl Into<Step>) {
        self.authority.stack.script().set(Scope::Jwks, answer);
    }

    fn recover(&self) {
        self.authority.stack.script().clear(&Scope::Jwks);
    }
}

/// A clock that runs.
struct Running(FixedClock, Instant);

impl Clock for Running {
    fn now(&self) -> Moment {
        let Moment { unix, monotonic } = self.0.now();
        let since = self.1.elapsed();
        Moment {
            unix: unix + since,
            monotonic: monotonic + since,
        }
    }
}

#[tokio::test]
async fn keys_of_the_sts_keep_the_contract() {
    let fixture = Fixture::start().await;
    signing_keys_contract(&fixture.authority, &fixture.keys).await;
}

#[tokio::test]
async fn keys_asked_for_by_many_are_fetched_once() {
    let fixture = Fixture::start().await;
    let all = join_all((0..64).map(|_| fixture.find(&fixture.kid))).await;
    assert!(all.iter().all(|outcome| *outcome == "key"));
    assert_eq!(fixture.asked(), 1);
    assert_eq!(fixture.find(&fixture.kid).await, "key");
    assert_eq!(fixture.asked(), 1);
}

#[tokio::test]
async fn keys_fetch_goes_on_when_the_one_who_asked_hangs_up() {
    let fixture = Fixture::start().await;
    let gate = Arc::new(Semaphore::new(0));
    fixture.answer(Step {
        hold: Some(Arc::clone(&gate)),
        ..Step::default()
    });
    let search = fixture.find(&fixture.kid);
    assert!(timeout(Duration::from_millis(50), search).await.is_err());
    fixture.recover();
    gate.add_permits(1);
    fixture.until("the fetch", |stats| stats.fetched == 1).await;
    assert_eq!(fixture.asked(), 1);
}

#[tokio::test]
async fn keys_flood_of_bogus_ids_makes_few_fetches_and_a_rotated_key_passes_it() {
    let authority = Authority::start().await;
    let clock = Running(authority.clock.clone(), Instant::now());
    let fixture = Arc::new(Fixture::with(authority, Arc::new(clock)));
    assert_eq!(fixture.find(&fixture.kid).await, "key");
    let (start, stop) = (Instant::now(), CancellationToken::new());
    let mut flood = JoinSet::new();
    for attacker in 0..400 {
        let (fixture, stop) = (Arc::clone(&fixture), stop.clone());
        flood.spawn(async move {
            for attempt in 0_u64.. {
                let kid = format!("bogus-{attacker}-{attempt}");
                assert_ne!(fixture.find(&kid).await, "key");
                if stop.is_cancelled() {
                    return;
                }
            }
        });
    }
    until("the budget to be spent", async || {
        (fixture.asked() >= 5).then_some(())
    })
    .await;
    let rotated = fixture.authority.stack.sts().rotate_key(ZONE).unwrap();
    assert_eq!(fixture.find(&rotated).await, "key");
    assert_eq!(fixture.find(&fixture.kid).await, "key");
    stop.cancel();
    flood.join_all().await;
    let budget = 1 + 4 + start.elapsed().as_secs() / 2 + 1;
    assert!(fixture.asked() <= budget, "{} > {budget}", fixture.asked());
}

#[tokio::test]
async fn keys_serve_for_an_hour_while_the_sts_fails() {
    let fixture = Fixture::start().await;
    assert_eq!(fixture.find(&fixture.kid).await, "key");
    let clock = &fixture.authority.clock;
    fixture.answer(Answer::Drop);
    clock.advance(Duration::from_secs(301));
    assert_eq!(fixture.find(&fixture.kid).await, "key");
    assert_eq!(
        fixture.find("another").await,
        "unknown",
        "the keys at hand decide"
    );
    assert!(fixture.keys.stats().served_stale > 0);
    clock.advance(Duration::from_secs(3600 - 302));
    assert_eq!(fixture.find(&fixture.kid).await, "key");
    clock.advance(Duration::from_secs(1));
    assert_eq!(fixture.find(&fixture.kid).await, "unavailable");
    fixture.recover();
    clock.advance(Duration::from_millis(500));
    assert_eq!(fixture.find(&fixture.kid).await, "key", "within half a second");
    assert_eq!(fixture.find("another").await, "unknown");
}

#[tokio::test]
async fn keys_serve_at_once_when_the_sts_hangs() {
    let authority = Authority::start().await;
    let proxy = FaultProxy::start(authority.addr()).await;
    let clock = authority.clock.clone();
    let (keys, refresher) = KeyStore::new(authority.client_at(proxy.addr()), Arc::new(clock.clone()));
    let mut tasks = JoinSet::new();
    tasks.spawn(refresher.run(CancellationToken::new()));
    let kid = authority.stack.sts().kid(ZONE).unwrap();
    assert_eq!(find(&keys, ZONE, &kid).await, "key");
    proxy.set(Fault::Hang).await;
    clock.advance(Duration::from_secs(400));
    assert_eq!(find(&keys, ZONE, &kid).await, "key", "after one fetch has failed");
    for _ in 0..100 {
        let found = find(&keys, ZONE, &kid).now_or_never();
        assert_eq!(found, Some("key"), "nobody waits any more");
    }
    assert_eq!(find(&keys, "cold-zone", &kid).await, "unavailable");
}

#[tokio::test]
async fn keys_stay_when_the_document_is_garbage() {
    let fixture = Fixture::start().await;
    assert_eq!(fixture.find(&fixture.kid).await, "key");
    let good = Key::generate("k");
    let with = |member: &str, value: serde_json::Value| {
        let mut document = jwks([&good]);
        document["keys"][0][member] = value;
        document.to_string()
    };
    let json = |status, body: String| RawAnswer::new(status, "application/json", body);
    let twice = jwks([&good, &Key::generate("k")]).to_string();
    let garbage = [
        json(404, r#"{"error":"resource_not_found"}"#.into()),
        json(500, jwks([&good]).to_string()),
        json(204, String::new()),
        json(200, String::new()),
        RawAnswer::new(200, "text/html", "<html>maintenance</html>"),
        RawAnswer::redirect(302, fixture.authority.stack.upstream_url()),
        RawAnswer::oversized(300 * 1024),
        json(200, r#"{"keys":[]}"#.into()),
        json(200, twice),
        json(200, with("d", "AAAA".into())),
        json(200, with("crv", "P-384".into())),
        json(200, with("use", "enc".into())),
    ];
    for (number, answer) in (1..).zip(garbage) {
        let words = format!("{} {:?}", answer.status, answer.body);
        fixture.answer(answer);
        fixture.keys.invalidate(ZONE);
        fixture.until("the failure", |stats| stats.failed >= number).await;
        assert_eq!(fixture.find(&fixture.kid).await, "key", "{words:.80}");
        assert_eq!(fixture.keys.stats().fetched, 1, "{words:.80}");
    }
}

#[tokio::test]
async fn keys_are_fetched_when_the_sts_says_that_they_changed() {
    let fixture = Fixture::start().await;
    fixture.keys.invalidate(ZONE);
    assert_eq!(fixture.find(&fixture.kid).await, "key");
    assert_eq!(
        fixture.asked(),
        1,
        "nothing is fetched for a zone that nobody uses"
    );
    let rotated = fixture.authority.stack.sts().rotate_key(ZONE).unwrap();
    fixture.keys.invalidate(ZONE);
    fixture.until("the fetch", |stats| stats.fetched == 2).await;
    assert_eq!(fixture.find(&rotated).await, "key");
    assert_eq!(fixture.asked(), 2);
}

#[tokio::test]
async fn keys_in_use_are_refreshed_ahead_of_time() {
    let fixture = Fixture::start().await;
    assert_eq!(fixture.find(&fixture.kid).await, "key");
    fixture.authority.clock.advance(Duration::from_secs(255));
    fixture.until("the refresh", |stats| stats.fetched == 2).await;
    fixture.authority.clock.advance(Duration::from_secs(100));
    assert_eq!(fixture.find(&fixture.kid).await, "key");
    assert_eq!(fixture.asked(), 2, "fresh, so nobody waited");
}

#[tokio::test]
async fn keys_refresher_ends_with_the_shutdown_also_during_a_fetch() {
    let mut fixture = Fixture::start().await;
    fixture.answer(Step {
        hold: Some(Arc::new(Semaphore::new(0))),
        ..Step::default()
    });
    let search = fixture.find(&fixture.kid);
    assert!(timeout(Duration::from_millis(50), search).await.is_err());
    fixture.stop.cancel();
    let ended = timeout(PATIENCE, fixture.refresher.join_next()).await;
    assert!(matches!(ended, Ok(Some(Ok(())))));
}
