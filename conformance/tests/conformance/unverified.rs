//! Requests that nobody vouches for yet hold no room that a verified request needs.

use crate::report::{Report, refusal};
use crate::world::{NONE, World};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use devstack::{Scope, Step};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http2::handshake;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::net::SocketAddr;
use std::sync::Arc;
use testkit::wait::PATIENCE;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// More than `MAX_INFLIGHT_REQUESTS`, a hundred to a connection.
const CONNECTIONS: usize = 52;
const STREAMS: usize = 100;
/// Requests of one zone that may wait for its keys.
const WAITING: usize = 64;

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
