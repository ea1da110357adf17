mod again;
mod departure;
mod dial;
mod door;
mod early;
mod event_streams;
mod http2;
mod preconnect;
mod server;
mod unasked;
mod upgraded;

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use admission::Scheme;
use admission::binding::Origin;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;
use testkit::clock::FixedClock;
use testkit::tls::{Ca, TlsFront};
use tokio_util::task::TaskTracker;

use self::server::{OK, Seen, Server, request, until_closed};
use super::connections::Target;
use super::leaving::Leaving;
use super::{Client, ClientConfig, Http2Config, PoolLimits, PooledBody, SendFailure, Stats};
use crate::tls::{ClientTls, TlsClient, http_client_config};

struct Fixture {
    client: Client<Full<Bytes>>,
    clock: FixedClock,
    tracker: TaskTracker,
}

fn client_with<B>(limits: PoolLimits, tls: &ClientTls) -> (Client<B>, FixedClock, TaskTracker)
where
    B: hyper::body::Body<Data = Bytes, Error = std::convert::Infallible> + Unpin + Send + 'static,
{
    let (clock, tracker) = (FixedClock::default(), TaskTracker::new());
    let config = ClientConfig {
        tls: TlsClient::new(http_client_config(tls).unwrap()),
        http2: Http2Config::default(),
        limits,
    };
    let client = Client::new(config, Arc::new(clock.clone()), tracker.clone());
    (client, clock, tracker)
}

fn plain() -> ClientTls {
    ClientTls {
        authorities: Some(Vec::new()),
        identity: None,
    }
}

impl Fixture {
    fn new(limits: PoolLimits) -> Self {
        let (client, clock, tracker) = client_with(limits, &plain());
        Self {
            client,
            clock,
            tracker,
        }
    }

    async fn head(
        &self,
        host: &str,
        addresses: &[SocketAddr],
        leaving: &impl Leaving,
    ) -> Result<Response<PooledBody<Full<Bytes>>>, SendFailure> {
        let origin = origin(Scheme::Http, host, 80);
        let target = Target {
            origin: &origin,
            addresses,
        };
        self.client.send_to(&target, get(Full::default()), leaving).await
    }

    /// A request whose answer is read to its end.
    async fn ask(&self, host: &str, address: SocketAddr) -> Bytes {
        let response = self.head(host, &[address], &()).await.unwrap();
        response.into_body().collect().await.unwrap().to_bytes()
    }

    /// Gives the connections' tasks their turn until what is wanted is so.
    async fn until(&self, wanted: impl Fn(Stats) -> bool) {
        let sweep = async || {
            self.client.sweep();
            wanted(self.client.stats()).then_some(())
        };
        testkit::wait::until("the pool", sweep).await;
    }
}

fn origin(scheme: Scheme, host: &str, port: u16) -> Origin {
    let host = host.to_owned();
    Origin { scheme, host, port }
}

fn get<B>(body: B) -> Request<B> {
    Request::get("/").header("host", "test").body(body).unwrap()
}

#[derive(Default)]
struct Marks(Mutex<Vec<&'static str>>);

impl Leaving for Marks {
    fn mark(&self, reused: bool) {
        self.0
            .lock()
            .unwrap()
            .push(if reused { "pooled" } else { "fresh" });
    }
    fn take_back(&self) {
        self.0.lock().unwrap().push("take back");
    }
}

#[tokio::test]
async fn connection_is_reused_after_a_clean_end() {
    let (server, fixture) = (Server::echo(), Fixture::new(PoolLimits::default()));
    for _ in 0..5 {
        assert_eq!(fixture.ask("a", server.addr).await, "ok");
        assert_eq!(server.next(), Seen::Request(0));
    }
    let stats = fixture.client.stats();
    assert_eq!((stats.dialled, stats.reused, stats.idle), (1, 4, 1));
}

#[tokio::test]
async fn dead_pooled_connection_is_replaced_once_before_a_byte_is_written() {
    let (close, closing) = channel::<()>();
    let closing = Mutex::new(closing);
    let server = Server::start(move |number, stream, seen| {
        assert!(request(stream));
        let _ = stream.write_all(OK.as_bytes());
        if number == 0 {
            closing.lock().unwrap().recv().unwrap();
            stream.shutdown(std::net::Shutdown::Both).unwrap();
            let _ = seen.send(Seen::Closed(number));
        } else {
            let _ = seen.send(Seen::Request(number));
            until_closed(stream);
        }
    });
    let fixture = Fixture::new(PoolLimits::default());
    fixture.ask("a", server.addr).await;
    // The runtime gets no turn between the close and the next request: only the kernel knows.
    close.send(()).unwrap();
    assert_eq!(server.next(), Seen::Closed(0));
    let marks = Marks::default();
    let response = fixture.head("a", &[server.addr], &marks).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "ok");
    assert_eq!(*marks.0.lock().unwrap(), ["pooled", "take back", "fresh"]);
    let stats = fixture.client.stats();
    assert_eq!((stats.dialled, stats.found_dead, stats.reused), (2, 1, 0));
    assert_eq!(server.next(), Seen::Request(1));
}

#[tokio::test]
async fn request_that_may_have_left_is_not_sent_again() {
    let server = Server::start(|number, stream, seen| {
        assert!(request(stream));
        let _ = seen.send(Seen::Request(number));
        if number == 0 {
            let _ = stream.write_all(OK.as_bytes());
            assert!(request(stream));
        }
    });
    let fixture = Fixture::new(PoolLimits::default());
    fixture.ask("a", server.addr).await;
    for connection in ["pooled", "fresh"] {
        let marks = Marks::default();
        let failed = fixture.head("a", &[server.addr], &marks).await.err().unwrap();
        assert!(matches!(failed, SendFailure::MaybeSent(_)), "{failed:?}");
        assert_eq!(*marks.0.lock().unwrap(), [connection]);
    }
    assert_eq!(fixture.client.stats().dialled, 2);
}

#[tokio::test]
async fn pooled_connection_to_an_address_that_is_not_judged_is_not_used() {
    let server = Server::echo();
    let other = Server::echo_at(([127, 0, 0, 2], server.addr.port()).into());
    let fixture = Fixture::new(PoolLimits::default());
    fixture.ask("a", server.addr).await;
    fixture.ask("a", other.addr).await;
    assert_eq!(other.next(), Seen::Request(0));
    fixture.ask("b", server.addr).await;
    let stats = fixture.client.stats();
    assert_eq!((stats.dialled, stats.reused), (3, 0));
    fixture.head("a", &[other.addr, server.addr], &()).await.unwrap();
    assert_eq!(fixture.client.stats().reused, 1);
}

#[tokio::test]
async fn response_dropped_half_way_closes_the_connection() {
    let server = Server::start(|number, stream, seen| {
        assert!(request(stream));
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
        until_closed(stream);
        let _ = seen.send(Seen::Closed(number));
    });
    let fixture = Fixture::new(PoolLimits::default());
    let response = fixture.head("a", &[server.addr], &()).await.unwrap();
    let mut body = response.into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "half");
    drop(body);
    fixture.tracker.close();
    fixture.tracker.wait().await;
    assert_eq!(server.next(), Seen::Closed(0));
    assert_eq!(fixture.client.stats().idle, 0);
}

#[tokio::test]
async fn request_dropped_before_the_response_closes_the_connection() {
    let server = Server::start(|number, stream, seen| {
        assert!(request(stream));
        let _ = seen.send(Seen::Request(number));
        until_closed(stream);
        let _ = seen.send(Seen::Closed(number));
    });
    let fixture = Fixture::new(PoolLimits::default());
    let addresses = [server.addr];
    let request = fixture.head("a", &addresses, &());
    let arrived = testkit::wait::until("the request to arrive", async || server.seen());
    tokio::select! {
        _ = request => panic!("nobody answered"),
        seen = arrived => assert_eq!(seen, Seen::Request(0)),
    }
    fixture.tracker.close();
    fixture.tracker.wait().await;
    assert_eq!(server.next(), Seen::Closed(0));
}

#[tokio::test]
async fn request_dropped_while_a_tls_peer_reads_nothing_ends_its_connection() {
    // The farewell of TLS cannot be written where nobody reads, so nobody may wait for it forever.
    let (deaf, ca) = (TcpListener::bind("127.0.0.1:0").unwrap(), Ca::new());
    let identity = ca.server(&["api.example"]);
    let front = TlsFront::start(deaf.local_addr().unwrap(), identity.server_config(&["http/1.1"])).await;
    let tls = ClientTls {
        authorities: Some(crate::tls::tests::certificates(ca.pem())),
        identity: None,
    };
    let (client, _clock, tracker) = client_with(PoolLimits::default(), &tls);
    let origin = origin(Scheme::Https, "api.example", 443);
    let target = Target {
        origin: &origin,
        addresses: &[front.addr()],
    };
    let piece = || Ok(Frame::data(Bytes::from_static(&[0; 64 * 1024])));
    let endless: Upload = Box::pin(futures_util::stream::repeat_with(piece));
    let request = Request::post("/").header("host", "test");
    let upload = client.send_to(&target, request.body(StreamBody::new(endless)).unwrap(), &());
    assert!(
        tokio::time::timeout(Duration::from_secs(1), upload)
            .await
            .is_err()
    );
    tracker.close();
    assert!(
        tokio::time::timeout(testkit::wait::PATIENCE, tracker.wait())
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn connection_whose_request_is_still_being_sent_is_not_reused() {
    let server = Server::echo();
    let (client, _clock, _tracker) = client_with(PoolLimits::default(), &plain());
    let target_origin = origin(Scheme::Http, "a", 80);
    let target = Target {
        origin: &target_origin,
        addresses: &[server.addr],
    };
    let upload = || {
        let never_ends: Upload = Box::pin(futures_util::stream::pending());
        let request = Request::post("/").header("host", "test");
        request.body(StreamBody::new(never_ends)).unwrap()
    };
    let early = client.send_to(&target, upload(), &()).await.unwrap();
    assert_eq!(early.into_body().collect().await.unwrap().to_bytes(), "ok");
    assert_eq!(client.stats().idle, 1);
    client.send_to(&target, upload(), &()).await.unwrap();
    assert_eq!((client.stats().dialled, client.stats().reused), (2, 0));
}

type Upload = std::pin::Pin<
    Box<dyn futures_util::Stream<Item = Result<Frame<Bytes>, std::convert::Infallible>> + Send>,
>;

#[tokio::test]
async fn idle_connections_end_with_their_time() {
    let (server, fixture) = (Server::echo(), Fixture::new(PoolLimits::default()));
    fixture.ask("a", server.addr).await;
    fixture.clock.advance(Duration::from_millis(89_999));
    fixture.ask("a", server.addr).await;
    assert_eq!(fixture.client.stats().dialled, 1);
    fixture.clock.advance(Duration::from_secs(90));
    fixture.ask("a", server.addr).await;
    assert_eq!(fixture.client.stats().dialled, 2, "too old to be used");
    fixture.until(|stats| stats.idle == 1).await;
    fixture.clock.advance(Duration::from_secs(90));
    fixture.until(|stats| stats.idle == 0).await;
    fixture.tracker.close();
    fixture.tracker.wait().await;
}

#[tokio::test]
async fn pool_keeps_its_bounds_and_drops_the_oldest() {
    let server = Server::echo();
    let fixture = Fixture::new(PoolLimits {
        per_origin: 2,
        total: 3,
        ..PoolLimits::default()
    });
    let open = async |host: &str, count: usize| {
        let mut bodies = Vec::new();
        for _ in 0..count {
            bodies.push(fixture.head(host, &[server.addr], &()).await.unwrap().into_body());
        }
        for body in bodies {
            fixture.clock.advance(Duration::from_secs(1));
            body.collect().await.unwrap();
        }
    };
    open("a", 3).await;
    assert_eq!(fixture.client.stats().idle, 2);
    open("b", 2).await;
    assert_eq!(fixture.client.stats().idle, 3);
    let before = fixture.client.stats().reused;
    open("a", 1).await;
    open("b", 2).await;
    assert_eq!(fixture.client.stats().reused - before, 3, "the newest were kept");
}

#[tokio::test]
async fn tls_is_checked_against_the_name_and_its_connections_are_reused() {
    let (server, ca) = (Server::echo(), Ca::new());
    let identity = ca.server(&["api.example"]);
    let front = TlsFront::start(server.addr, identity.server_config(&["http/1.1"])).await;
    let tls = ClientTls {
        authorities: Some(crate::tls::tests::certificates(ca.pem())),
        identity: None,
    };
    let (client, _clock, _tracker) = client_with(PoolLimits::default(), &tls);
    for (name, trusted) in [
        ("api.example", true),
        ("other.example", false),
        ("api.example", true),
    ] {
        let origin = origin(Scheme::Https, name, 443);
        let target = Target {
            origin: &origin,
            addresses: &[front.addr()],
        };
        let response = client.send_to(&target, get(Full::default()), &()).await;
        match response {
            Ok(response) if trusted => {
                assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "ok");
            }
            Err(SendFailure::Connect(_)) if !trusted => {}
            other => panic!("{name}: {:?}", other.err()),
        }
    }
    assert_eq!((client.stats().dialled, client.stats().reused), (1, 1));
}
