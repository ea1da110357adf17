//! Requests that nobody vouches for yet hold no room that a verified request needs.

use crate::report::{Report, refusal};
use crate::world::{NONE, World, ZONE};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use devstack::{Scope, Step};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http2::handshake;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use testkit::http::Connection;
use testkit::wait::{PATIENCE, until};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// More than `MAX_INFLIGHT_REQUESTS`, a hundred to a connection.
const CONNECTIONS: usize = 52;
const STREAMS: usize = 100;
/// Requests that may wait for a zone's keys: one of each connection, and 64 that share their places.
const WAITING: usize = CONNECTIONS + 64;
/// Connections of a flood over HTTP/1.1.
const FLOOD: usize = 400;

/// A mandate like this one under a key id that does not exist, with a signature that nobody made.
fn forged(token: &str, kid: usize) -> String {
    let header = format!(r#"{{"alg":"ES256","typ":"JWT","kid":"no-such-key-{kid}"}}"#);
    let claims = token.split('.').nth(1).expect("claims");
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    format!("{}.{claims}.{}", encode(header.as_bytes()), encode(&[7; 64]))
}

/// Sends forged mandates on one HTTP/2 connection, all at the same time, and tells each answer.
async fn flood(addr: SocketAddr, tokens: Vec<String>, answers: mpsc::UnboundedSender<(u16, String)>) {
    let stream = TcpStream::connect(addr).await.expect("a connection");
    let (sender, driver) = handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .expect("an HTTP/2 connection");
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { driver.await.expect("an HTTP/2 connection that ends well") });
    for token in tokens {
        let (mut sender, answers) = (sender.clone(), answers.clone());
        tasks.spawn(async move {
            let request = hyper::Request::get(format!("http://{addr}/"))
                .header("authorization", format!("Bearer {token}"))
                .header("x-caracal-resource", NONE)
                .body(Empty::<Bytes>::new())
                .expect("a request");
            let response = sender.send_request(request).await.expect("an answer");
            let status = response.status().as_u16();
            let body = response.into_body().collect().await.expect("a body").to_bytes();
            let _ = answers.send((status, String::from_utf8_lossy(&body).into_owned()));
        });
    }
    drop(sender);
    while tasks.join_next().await.is_some() {}
}

#[tokio::test]
async fn keys_flood_of_unsigned_requests_is_refused_at_once_and_a_good_caller_never_notices() {
    let world = World::start().await;
    let mut report = Report::default();
    report.status(
        "before, so that the keys are kept",
        &world.get(NONE, "/").await,
        200,
    );
    let gate = Arc::new(Semaphore::new(0));
    world.stack.script().set(
        Scope::Jwks,
        Step {
            hold: Some(Arc::clone(&gate)),
            ..Step::default()
        },
    );

    let token = world.token(NONE);
    let (sender, mut answers) = mpsc::unbounded_channel();
    let mut floods = JoinSet::new();
    for connection in 0..CONNECTIONS {
        let kids = connection * STREAMS..(connection + 1) * STREAMS;
        let tokens = kids.map(|kid| forged(&token, kid)).collect();
        floods.spawn(flood(world.addr(), tokens, sender.clone()));
    }
    drop(sender);
    // The good caller goes on all the while, and once more when every place to wait is taken.
    let (mut refused, mut served) = (Vec::new(), 0);
    let at_once = async {
        while refused.len() < CONNECTIONS * STREAMS - WAITING {
            let response = world.get(NONE, "/").await;
            report.status(format!("good caller, request {served}"), &response, 200);
            served += 1;
            while let Ok(answer) = answers.try_recv() {
                refused.push(answer);
            }
        }
    };
    if timeout(PATIENCE, at_once).await.is_err() {
        report.note(
            "the flood",
            Err(format!("only {} of it were answered at once", refused.len())),
        );
    }
    let response = world.get(NONE, "/").await;
    report.status("good caller while every place to wait is taken", &response, 200);
    let unavailable = refusal(503, "authority_unavailable", "signing keys unavailable");
    for (status, body) in refused {
        let expected = status == unavailable.status && body.contains(unavailable.description);
        report.holds(format!("refused at once: {status} {body}"), expected);
    }
    report.holds("some wait", answers.try_recv().is_err());

    world.stack.script().clear(&Scope::Jwks);
    gate.add_permits(1000);
    let mut late = 0;
    while let Some((status, body)) = timeout(PATIENCE, answers.recv())
        .await
        .expect("an answer in time")
    {
        late += 1;
        report.holds(format!("{status} {body}"), matches!(status, 401 | 503));
    }
    report.equal("those that waited", late, WAITING);
    while floods.join_next().await.is_some() {}
    report.finish();
}

/// Sends forged mandates one after another on each of many connections, always under another key id.
struct Flood {
    answered: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    callers: JoinSet<Vec<(u16, String)>>,
}

impl Flood {
    fn start(addr: SocketAddr, token: &str) -> Self {
        let mut flood = Self {
            answered: Arc::default(),
            stop: Arc::default(),
            callers: JoinSet::new(),
        };
        for caller in 0..FLOOD {
            let (answered, stop) = (Arc::clone(&flood.answered), Arc::clone(&flood.stop));
            let token = token.to_owned();
            flood.callers.spawn(async move {
                let mut connection = Connection::open(addr).await;
                let mut unexpected = Vec::new();
                for attempt in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let bearer = forged(&token, caller + attempt * FLOOD);
                    let request = format!(
                        "GET / HTTP/1.1\r\nHost: {addr}\r\nAuthorization: Bearer {bearer}\r\n\
                         X-Caracal-Resource: {NONE}\r\n\r\n"
                    );
                    let response = connection.exchange(request).await;
                    answered.fetch_add(1, Ordering::Relaxed);
                    if response.status() != 401 {
                        unexpected.push((response.status(), response.text()));
                    }
                }
                unexpected
            });
        }
        flood
    }

    /// Waits until as many more answers have come as it has connections.
    async fn goes_on(&self) {
        let before = self.answered.load(Ordering::Relaxed);
        until("the flood to go on", async || {
            (self.answered.load(Ordering::Relaxed) >= before + FLOOD).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn keys_rotated_in_a_flood_of_bogus_ids_serve_the_first_request_that_shows_them() {
    let world = World::start().await;
    // Here the STS's own key set is wanted, as it changes.
    world.stack.script().clear(&Scope::Jwks);
    let mut report = Report::default();
    report.status("before", &world.get(NONE, "/").await, 200);
    let fetched = world.stack.sts().counts().jwks;
    let flood = Flood::start(world.addr(), &world.token(NONE));
    for rotation in 0..4 {
        flood.goes_on().await;
        world.stack.sts().rotate_key(ZONE).expect("a new key");
        report.status(
            format!("rotation {rotation}: the first request"),
            &world.get(NONE, "/").await,
            200,
        );
    }
    // One fetch serves hundreds of them, whatever they ask for.
    let fetches = world.stack.sts().counts().jwks - fetched;
    let answered = flood.answered.load(Ordering::Relaxed);
    report.holds(
        format!("{fetches} fetches for {answered} bogus ids"),
        fetches < answered as u64 / 20,
    );
    flood.stop.store(true, Ordering::Relaxed);
    for unexpected in flood.callers.join_all().await {
        report.equal("the flood", unexpected, Vec::new());
    }
    report.finish();
}

#[tokio::test]
async fn keys_of_a_cold_zone_serve_everybody_who_waits_on_a_connection_of_his_own() {
    // What they wait for here are keys, and not the STS's attention.
    let world = World::builder().env("STS_MAX_INFLIGHT", "2000").start().await;
    let mut report = Report::default();
    let gate = Arc::new(Semaphore::new(0));
    let fetched = world.stack.sts().counts().jwks;
    world.stack.script().set(
        Scope::Jwks,
        Step {
            hold: Some(Arc::clone(&gate)),
            ..Step::default()
        },
    );
    // One zone's exchanges take half of these at most.
    let replica = world.replica_with(&[("STS_MAX_INFLIGHT", "1000")]).await;
    let mut callers = JoinSet::new();
    for _ in 0..500 {
        let (addr, token) = (replica.addr(), world.token(NONE));
        callers.spawn(async move { crate::world::present_to(addr, &token, NONE, "/").await.status() });
    }
    until("all to be connected", async || {
        let page = testkit::http::get(replica.addr(), "/metrics", &[]).await;
        let held = crate::world::parse_metrics(&page.text());
        (held
            .get("caracal_gateway_connections")
            .is_some_and(|held| *held >= 500.0))
        .then_some(())
    })
    .await;
    world.stack.script().clear(&Scope::Jwks);
    gate.add_permits(1000);
    let served = callers.join_all().await;
    report.equal(
        "served",
        served.iter().filter(|status| **status == 200).count(),
        500,
    );
    let fetches = world.stack.sts().counts().jwks - fetched;
    report.holds(format!("{fetches} fetches"), fetches <= 2);
    report.finish();
}
