//! Connections that requests share.

mod ends;
mod raw;
mod server;
mod sharing;

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use admission::Scheme;
use admission::ports::Clock as _;
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::join_all;
use futures_util::stream::unfold;
use http::{HeaderMap, HeaderValue, Request, Response, Version};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, StreamBody};
use hyper::body::{Body as _, Frame};
use testkit::clock::FixedClock;
use testkit::tls::{Ca, TlsFront};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_util::task::TaskTracker;

use self::server::{Call, Http2Server, reset};
use super::super::connections::Target;
use super::super::leaving::Leaving;
use super::super::{Client, ClientConfig, Http2Config, Pings, PoolLimits, PooledBody, SendFailure};
use super::{origin, plain};
use crate::tls::{ClientTls, TlsClient, upstream_client_config};

const NAME: &str = "grpc.example";

type Body = UnsyncBoxBody<Bytes, Infallible>;
type Answer = Response<PooledBody<Body>>;

struct Fixture {
    client: Client<Body>,
    tls: TlsClient,
    clock: FixedClock,
}

impl Fixture {
    fn new(limits: PoolLimits, pings: Pings) -> Self {
        Self::with(limits, pings, &plain())
    }

    fn with(limits: PoolLimits, pings: Pings, tls: &ClientTls) -> Self {
        let clock = FixedClock::default();
        let tls = TlsClient::new(upstream_client_config(tls).unwrap());
        let config = ClientConfig {
            tls: tls.clone(),
            http2: Http2Config {
                cleartext_hosts: vec![NAME.into()],
                pings,
            },
            limits,
        };
        let client = Client::new(config, Arc::new(clock.clone()), TaskTracker::new());
        Self { client, tls, clock }
    }

    async fn send(
        &self,
        scheme: Scheme,
        addresses: &[SocketAddr],
        request: Request<Body>,
        leaving: &impl Leaving,
    ) -> Result<Answer, SendFailure> {
        let origin = origin(scheme, NAME, 443);
        let target = Target {
            origin: &origin,
            addresses,
        };
        self.client.send_to(&target, request, leaving).await
    }

    async fn get(&self, address: SocketAddr) -> Result<Answer, SendFailure> {
        let get = request("GET", Empty::new().boxed_unsync());
        self.send(Scheme::Http, &[address], get, &()).await
    }
}

impl Default for Fixture {
    fn default() -> Self {
        Self::new(PoolLimits::default(), Pings::default())
    }
}

fn request(method: &str, body: Body) -> Request<Body> {
    let request = Request::builder().method(method).uri("/a%2Fb?c=1");
    request.header("host", NAME).body(body).unwrap()
}

/// A body that the test feeds.
fn fed() -> (UnboundedSender<Frame<Bytes>>, Body) {
    let (feed, frames) = unbounded_channel();
    let next = |mut frames: UnboundedReceiver<Frame<Bytes>>| async move {
        let frame = frames.recv().await?;
        Some((Ok::<_, Infallible>(frame), frames))
    };
    (feed, StreamBody::new(unfold(frames, next)).boxed_unsync())
}

fn trailers(status: &'static str) -> HeaderMap {
    HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from_static(status))])
}

/// Answers this many requests.
async fn serve(server: &mut Http2Server, count: usize) {
    for _ in 0..count {
        server.next().await.answer();
    }
}

#[tokio::test]
async fn http2_request_has_its_form_and_streams_both_ways_with_trailers() {
    let (mut server, fixture) = (Http2Server::start(|_| {}).await, Fixture::default());
    let (feed, body) = fed();
    let mut post = request("POST", body);
    post.headers_mut()
        .insert("te", HeaderValue::from_static("trailers"));
    let addresses = [server.addr];
    let sent = fixture.send(Scheme::Http, &addresses, post, &());
    let play = async {
        let mut call = server.next().await;
        let head = &call.request;
        assert_eq!(head.version(), Version::HTTP_2);
        assert_eq!(head.uri(), "http://grpc.example/a%2Fb?c=1");
        assert_eq!(
            (head.headers().len(), &head.headers()["te"]),
            (1, &HeaderValue::from_static("trailers"))
        );
        let answer = call.begin();
        (call, answer)
    };
    let (response, (mut call, mut answer)) = tokio::join!(sent, play);
    let mut body = response.unwrap().into_body();
    for piece in ["one", "two"] {
        feed.send(Frame::data(piece.into())).unwrap();
        assert_eq!(call.piece().await.unwrap().unwrap(), piece);
        answer.send_data(Bytes::from(piece), false).unwrap();
        let frame = body.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), piece);
    }
    feed.send(Frame::trailers(trailers("request"))).unwrap();
    assert!(call.piece().await.is_none());
    let got = call.request.body_mut().trailers().await.unwrap();
    assert_eq!(got, Some(trailers("request")));
    answer.send_trailers(trailers("0")).unwrap();
    let frame = body.frame().await.unwrap().unwrap();
    assert_eq!(frame.into_trailers().unwrap(), trailers("0"));
    assert!(body.is_end_stream() && body.frame().await.is_none());
}

#[tokio::test]
async fn http2_requests_share_connections_up_to_what_their_peer_allows() {
    for (allowed, requests, connections) in [(None, 100, 1), (Some(10), 30, 3)] {
        let (mut server, fixture) = (
            Http2Server::start(|builder| {
                if let Some(allowed) = allowed {
                    builder.max_concurrent_streams(allowed);
                }
            })
            .await,
            Fixture::default(),
        );
        let address = server.addr;
        for round in 0..2 {
            // All of them come before any is answered.
            let play = async {
                let mut calls = Vec::new();
                for _ in 0..requests {
                    calls.push(server.next().await);
                }
                calls.into_iter().for_each(Call::answer);
            };
            let all = join_all((0..requests).map(|_| fixture.get(address)));
            let (answers, ()) = tokio::join!(all, play);
            assert!(answers.into_iter().all(|answer| answer.unwrap().status() == 200));
            assert_eq!(
                fixture.client.stats().dialled,
                connections,
                "{allowed:?}, round {round}"
            );
        }
        // An answer without a body has left its place.
        assert_eq!(fixture.client.stats().idle, usize::try_from(connections).unwrap());
    }
}

#[tokio::test]
async fn http2_connection_is_left_when_its_address_is_not_judged_or_it_was_idle_too_long() {
    let (mut server, mut other) = (Http2Server::start(|_| {}).await, Http2Server::start(|_| {}).await);
    let fixture = Fixture::default();
    let (first, second) = (server.addr, other.addr);
    tokio::join!(async { fixture.get(first).await.unwrap() }, serve(&mut server, 1));
    tokio::join!(async { fixture.get(second).await.unwrap() }, serve(&mut other, 1));
    let stats = fixture.client.stats();
    assert_eq!((stats.dialled, stats.idle), (2, 1), "the first one is dropped");
    tokio::join!(async { fixture.get(first).await.unwrap() }, serve(&mut server, 1));
    assert_eq!(fixture.client.stats().dialled, 3);

    fixture.clock.advance(Duration::from_secs(90));
    fixture.client.sweep();
    assert_eq!(fixture.client.stats().idle, 0);
    tokio::join!(async { fixture.get(first).await.unwrap() }, serve(&mut server, 1));

    // Nothing was heard since a request began that got no answer.
    let origin = origin(Scheme::Http, NAME, 443);
    fixture.client.distrust(&origin, Duration::ZERO);
    assert_eq!(fixture.client.stats().idle, 1);
    fixture.clock.advance(Duration::from_secs(1));
    fixture.client.distrust(&origin, fixture.clock.now().monotonic);
    assert_eq!(fixture.client.stats().idle, 0);
}

#[tokio::test]
async fn http2_connections_that_are_idle_keep_the_bound_of_all_together() {
    let mut servers = Vec::new();
    for _ in 0..4 {
        servers.push(Http2Server::start(|_| {}).await);
    }
    let limits = PoolLimits {
        total: 2,
        ..PoolLimits::default()
    };
    let fixture = Fixture::new(limits, Pings::default());
    for (port, server) in (1..).zip(&mut servers) {
        let (origin, addresses) = (origin(Scheme::Http, NAME, port), [server.addr]);
        let target = Target {
            origin: &origin,
            addresses: &addresses,
        };
        let get = request("GET", Empty::new().boxed_unsync());
        let sent = fixture.client.send_to(&target, get, &());
        let (answer, ()) = tokio::join!(sent, serve(server, 1));
        assert_eq!(answer.unwrap().status(), 200);
        fixture.clock.advance(Duration::from_secs(1));
    }
    // The last one was in use when there was a look at it.
    assert_eq!(fixture.client.stats().idle, 3);
    fixture.client.sweep();
    assert_eq!(fixture.client.stats().idle, 2);
    // Those that were used last are kept.
    let origin = origin(Scheme::Http, NAME, 3);
    let target = Target {
        origin: &origin,
        addresses: &[servers[2].addr],
    };
    let get = request("GET", Empty::new().boxed_unsync());
    let sent = fixture.client.send_to(&target, get, &());
    tokio::join!(async { sent.await.unwrap() }, serve(&mut servers[2], 1));
    assert_eq!(fixture.client.stats().dialled, 4);
}

#[tokio::test]
async fn http2_request_that_is_dropped_resets_its_stream_alone() {
    let (mut server, fixture) = (Http2Server::start(|_| {}).await, Fixture::default());
    let addresses = [server.addr];
    let (feed, body) = fed();
    let post = request("POST", body);
    let mut waits = Box::pin(fixture.send(Scheme::Http, &addresses, post, &()));
    let mut call = tokio::select! {
        _ = &mut waits => panic!("nobody answered"),
        call = server.next() => call,
    };
    let (stays, mut stays_call) = tokio::join!(fixture.get(server.addr), async {
        let mut call = server.next().await;
        call.begin()
    });
    let mut stays = stays.unwrap().into_body();
    // Before the head of the answer.
    drop(waits);
    assert_eq!(call.reset().await, h2::Reason::CANCEL);
    // Nobody reads the body any more.
    feed.closed().await;
    // Within its body.
    let (cut, mut answer) = tokio::join!(fixture.get(server.addr), async {
        let mut answer = server.next().await.begin();
        answer.send_data("piece".into(), false).unwrap();
        answer
    });
    let mut cut = cut.unwrap().into_body();
    assert_eq!(cut.frame().await.unwrap().unwrap().into_data().unwrap(), "piece");
    drop(cut);
    assert_eq!(reset(&mut answer).await, h2::Reason::CANCEL);

    stays_call.send_data("still here".into(), true).unwrap();
    assert_eq!(
        stays.frame().await.unwrap().unwrap().into_data().unwrap(),
        "still here"
    );
    assert_eq!(fixture.client.stats().dialled, 1);
}

#[tokio::test]
async fn http2_answers_that_nobody_takes_hold_a_window_each_and_hold_up_no_others() {
    const WINDOW: usize = 64 * 1024;
    let (mut server, fixture) = (Http2Server::start(|_| {}).await, Fixture::default());
    let mut untaken = Vec::new();
    // Together more than the window of a connection is elsewhere.
    for _ in 0..40 {
        let (response, mut answer) =
            tokio::join!(fixture.get(server.addr), async { server.next().await.begin() });
        answer.reserve_capacity(2 * WINDOW);
        let granted = poll_fn(|cx| answer.poll_capacity(cx)).await.unwrap().unwrap();
        assert_eq!(granted, WINDOW);
        answer.send_data(vec![0; granted].into(), false).unwrap();
        untaken.push((response.unwrap(), answer));
    }
    let (response, ()) = tokio::join!(fixture.get(server.addr), async {
        let mut answer = server.next().await.begin();
        answer.send_data("passes".into(), true).unwrap();
    });
    let passed = response.unwrap().into_body().collect().await.unwrap();
    assert_eq!(passed.to_bytes(), "passes");
    for (response, mut answer) in untaken {
        assert!(poll_fn(|cx| answer.poll_capacity(cx)).now_or_never().is_none());
        // What is taken makes room for as much.
        let mut body = response.into_body();
        let mut taken = 0;
        while taken < WINDOW {
            taken += body.frame().await.unwrap().unwrap().into_data().unwrap().len();
        }
        assert!(poll_fn(|cx| answer.poll_capacity(cx)).await.unwrap().unwrap() > 0);
    }
    assert_eq!(fixture.client.stats().dialled, 1);
}

#[tokio::test]
async fn http2_is_what_the_server_chooses_over_tls_whose_renewal_ends_old_connections() {
    let ca = Ca::new();
    let tls = ClientTls {
        authorities: Some(crate::tls::tests::certificates(ca.pem())),
        identity: None,
    };
    let mut server = Http2Server::start(|_| {}).await;
    let old = super::server::Server::echo();
    let fixture = Fixture::with(PoolLimits::default(), Pings::default(), &tls);
    for (address, protocols, version) in [
        (server.addr, &["h2", "http/1.1"][..], Version::HTTP_2),
        (server.addr, &["h2"], Version::HTTP_2),
        (old.addr, &["http/1.1"], Version::HTTP_11),
        (old.addr, &[], Version::HTTP_11),
    ] {
        let front = TlsFront::start(address, ca.server(&[NAME]).server_config(protocols)).await;
        let addresses = [front.addr()];
        for turn in 0..3 {
            if turn == 2 {
                // Whoever is on the other end may not be trusted any more.
                fixture.tls.renew(upstream_client_config(&tls).unwrap());
            }
            let get = request("GET", Empty::new().boxed_unsync());
            let sent = fixture.send(Scheme::Https, &addresses, get, &());
            let answer = tokio::select! {
                answer = sent => answer.unwrap(),
                () = serve(&mut server, usize::MAX) => unreachable!("it never ends"),
            };
            assert_eq!(answer.version(), version, "{protocols:?}");
            answer.into_body().collect().await.unwrap();
        }
    }
    let stats = fixture.client.stats();
    assert_eq!((stats.dialled, stats.reused), (8, 4));
}

#[tokio::test]
async fn http2_wants_a_server_that_speaks_it() {
    let old = super::server::Server::start(|_, stream, _| {
        let _ = std::io::Write::write_all(stream, b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        super::server::until_closed(stream);
    });
    let refusing = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let fixture = Fixture::default();
    for address in [old.addr, refusing] {
        // Those that wait for the first one share its failure.
        let marks = super::Marks::default();
        let all = join_all((0..5).map(|_| {
            let get = request("GET", Empty::new().boxed_unsync());
            let (fixture, marks) = (&fixture, &marks);
            async move { fixture.send(Scheme::Http, &[address], get, marks).await }
        }));
        for failed in all.await {
            let failed = failed.err().unwrap();
            assert!(matches!(failed, SendFailure::Connect(_)), "{failed:?}");
        }
        assert!(marks.0.lock().unwrap().is_empty(), "nothing can have left");
    }
}
