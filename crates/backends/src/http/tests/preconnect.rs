//! Connections that are made ahead of their requests.

mod waited;

use std::io::{ErrorKind, Read as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use admission::Scheme;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use rustls::{ServerConnection, StreamOwned};
use testkit::tls::Ca;
use testkit::wait::{PATIENCE, until};

use super::super::connections::Target;
use super::super::{Client, ClientConfig, Http2Config, PoolLimits, Preconnect, SendFailure};
use super::server::{OK, Seen, Server, request, until_closed};
use super::{Fixture, get, origin};
use crate::tls::{ClientTls, TlsClient, upstream_client_config};
use testkit::clock::FixedClock;
use tokio_util::task::TaskTracker;

const NAME: &str = "api.example";

/// A client's TLS that offers HTTP/2.
fn tls_config(ca: &Ca) -> rustls::ClientConfig {
    let tls = ClientTls {
        authorities: Some(crate::tls::tests::certificates(ca.pem())),
        identity: None,
    };
    upstream_client_config(&tls).unwrap()
}

/// A client that offers HTTP/2 over TLS.
fn offering_http2(ca: &Ca) -> Fixture {
    with_tls(TlsClient::new(tls_config(ca)))
}

fn with_tls(tls: TlsClient) -> Fixture {
    let (clock, tracker) = (FixedClock::default(), TaskTracker::new());
    let config = ClientConfig {
        tls,
        http2: Http2Config::default(),
        limits: PoolLimits::default(),
    };
    let client = Client::new(config, Arc::new(clock.clone()), tracker.clone());
    Fixture {
        client,
        clock,
        tracker,
    }
}

impl Fixture {
    fn preconnect(&self, scheme: Scheme, host: &str, addresses: &[SocketAddr]) -> Preconnect {
        let origin = origin(scheme, host, if scheme == Scheme::Http { 80 } else { 443 });
        self.client.preconnect_to(&Target {
            origin: &origin,
            addresses,
        })
    }

    /// Waits until each connection that is made ahead is made, or is not wanted any more.
    async fn settled(&self) {
        until("the connection", async || self.tracker.is_empty().then_some(())).await;
    }

    /// The body of an answer over TLS.
    async fn ask_tls(&self, addresses: &[SocketAddr]) -> Result<Bytes, SendFailure> {
        let origin = origin(Scheme::Https, NAME, 443);
        let target = Target {
            origin: &origin,
            addresses,
        };
        let answer = self.client.send_to(&target, get(Full::default()), &()).await?;
        Ok(answer.into_body().collect().await.unwrap().to_bytes())
    }
}

/// A server that is told each step.
struct Stepped {
    server: Server,
    step: Sender<()>,
    said: Receiver<&'static str>,
}

impl Stepped {
    /// Each connection takes a step, shakes hands where there is a certificate, and takes another one before it looks whether
    /// the client said anything of its own; then it answers, over HTTP/1.1.
    fn start(ca: Option<(&Ca, &[&str])>) -> Self {
        let config = ca.map(|(ca, protocols)| Arc::new(ca.server(&[NAME]).server_config(protocols)));
        let (step, steps) = channel();
        let (say, said) = channel();
        let (steps, say) = (Mutex::new(steps), Mutex::new(say));
        let server = Server::start(move |number, tcp, seen| {
            let say = |word| {
                let _ = say.lock().unwrap().send(word);
            };
            say("accepted");
            if steps.lock().unwrap().recv_timeout(PATIENCE).is_err() {
                return;
            }
            match &config {
                None => {
                    tcp.set_nonblocking(true).unwrap();
                    let read = tcp.read(&mut [0]);
                    tcp.set_nonblocking(false).unwrap();
                    say(word_of(&read));
                    while request(tcp) {
                        let _ = std::io::Write::write_all(tcp, OK.as_bytes());
                    }
                }
                Some(config) => {
                    let session = ServerConnection::new(Arc::clone(config)).unwrap();
                    let mut stream = StreamOwned::new(session, tcp);
                    if stream.conn.complete_io(&mut stream.sock).is_err() {
                        return;
                    }
                    say("shaken");
                    if steps.lock().unwrap().recv_timeout(PATIENCE).is_err() {
                        return;
                    }
                    stream.sock.set_nonblocking(true).unwrap();
                    let read = stream.read(&mut [0]);
                    stream.sock.set_nonblocking(false).unwrap();
                    say(word_of(&read));
                    let (mut head, mut byte) = (Vec::new(), [0]);
                    while stream.read_exact(&mut byte).is_ok() {
                        head.push(byte[0]);
                        if head.ends_with(b"\r\n\r\n") {
                            let is_preface = head.starts_with(b"PRI * HTTP/2.0");
                            say(if is_preface { "preface" } else { "request" });
                            if is_preface {
                                return;
                            }
                            let _ = std::io::Write::write_all(&mut stream, OK.as_bytes());
                            head.clear();
                        }
                    }
                }
            }
            let _ = seen.send(Seen::Closed(number));
        });
        Self { server, step, said }
    }

    fn go_on(&self) {
        self.step.send(()).unwrap();
    }

    /// Waits until this is said, while the runtime goes on.
    async fn says(&self, expect: &str) {
        let said = until(expect, async || self.said.try_recv().ok()).await;
        assert_eq!(said, expect);
    }
}

fn word_of(read: &std::io::Result<usize>) -> &'static str {
    match read {
        Err(error) if error.kind() == ErrorKind::WouldBlock => "silent",
        _ => "not silent",
    }
}

#[tokio::test]
async fn preconnect_says_nothing_and_its_request_takes_its_connection() {
    let (stepped, fixture) = (Stepped::start(None), Fixture::new(PoolLimits::default()));
    let addresses = [stepped.server.addr];
    let ahead = fixture.preconnect(Scheme::Http, "a", &addresses);
    fixture.settled().await;
    stepped.says("accepted").await;
    stepped.go_on();
    stepped.says("silent").await;
    assert_eq!(fixture.ask("a", addresses[0]).await, "ok");
    drop(ahead);
    // There is one at hand now.
    let _ahead = fixture.preconnect(Scheme::Http, "a", &addresses);
    assert_eq!(fixture.ask("a", addresses[0]).await, "ok");
    let stats = fixture.client.stats();
    assert_eq!((stats.dialled, stats.reused, stats.idle), (1, 1, 1));
}

#[tokio::test]
async fn preconnect_over_tls_says_nothing_of_http_before_its_request() {
    let ca = Ca::new();
    for (protocols, word) in [(&["h2", "http/1.1"][..], "preface"), (&["http/1.1"], "request")] {
        let (stepped, fixture) = (Stepped::start(Some((&ca, protocols))), offering_http2(&ca));
        let addresses = [stepped.server.addr];
        let _ahead = fixture.preconnect(Scheme::Https, NAME, &addresses);
        stepped.says("accepted").await;
        stepped.go_on();
        stepped.says("shaken").await;
        testkit::wait::until("the handshake", async || {
            (fixture.client.stats().dialled == 1).then_some(())
        })
        .await;
        stepped.go_on();
        stepped.says("silent").await;
        let asked = fixture.ask_tls(&addresses);
        if word == "preface" {
            tokio::select! {
                _ = asked => panic!("nobody answered"),
                () = stepped.says(word) => {}
            }
        } else {
            assert_eq!(asked.await.unwrap(), "ok");
            stepped.says(word).await;
        }
        assert_eq!(fixture.client.stats().dialled, 1);
    }
}

#[tokio::test]
async fn preconnect_under_way_is_waited_for_and_not_made_twice() {
    let ca = Ca::new();
    let (stepped, fixture) = (Stepped::start(Some((&ca, &["http/1.1"]))), offering_http2(&ca));
    let addresses = [stepped.server.addr];
    let ahead = [(); 2].map(|()| fixture.preconnect(Scheme::Https, NAME, &addresses));
    stepped.says("accepted").await;
    let mut asked = Box::pin(fixture.ask_tls(&addresses));
    assert!(futures_util::poll!(&mut asked).is_pending());
    stepped.go_on();
    stepped.go_on();
    assert_eq!(asked.await.unwrap(), "ok");
    drop(ahead);
    assert_eq!(fixture.client.stats().dialled, 1);
    let said: Vec<_> = stepped.said.try_iter().collect();
    assert!(!said.contains(&"accepted"), "nobody else was accepted: {said:?}");
}

#[tokio::test]
async fn preconnect_that_fails_is_its_requests_failure_only_where_that_waits_for_it() {
    let ca = Ca::new();
    for (lead, is_renewed, is_its_own) in [(0, false, true), (2, false, false), (0, true, false)] {
        let (hang_up, told) = channel::<()>();
        let told = Mutex::new(told);
        let server = Server::start(move |number, stream, seen| {
            let _ = seen.send(Seen::Request(number));
            if number == 0 {
                told.lock().unwrap().recv().unwrap();
            }
            stream.shutdown(std::net::Shutdown::Both).unwrap();
        });
        let tls = TlsClient::new(tls_config(&ca));
        let (fixture, addresses) = (with_tls(tls.clone()), [server.addr]);
        let _ahead = fixture.preconnect(Scheme::Https, NAME, &addresses);
        until("the connection", async || server.seen()).await;
        fixture.clock.advance(Duration::from_secs(lead));
        let mut asked = Box::pin(fixture.ask_tls(&addresses));
        assert!(futures_util::poll!(&mut asked).is_pending());
        if is_renewed {
            tls.renew(tls_config(&ca));
        }
        hang_up.send(()).unwrap();
        assert!(matches!(asked.await, Err(SendFailure::Connect(_))));
        let own = server.seen();
        assert_eq!(own.is_none(), is_its_own, "{lead} {is_renewed}: {own:?}");
    }

    let refusing = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let fixture = Fixture::new(PoolLimits::default());
    let _ahead = fixture.preconnect(Scheme::Http, "a", &[refusing]);
    fixture.settled().await;
    let _server = Server::echo_at(refusing);
    assert_eq!(fixture.ask("a", refusing).await, "ok");
}

#[tokio::test]
async fn preconnect_that_nobody_wants_ends_and_leads_nobody_elsewhere() {
    let ca = Ca::new();
    let silent = Server::start(|number, stream, seen| {
        let _ = seen.send(Seen::Request(number));
        until_closed(stream);
        let _ = seen.send(Seen::Closed(number));
    });
    let other = Stepped::start(Some((&ca, &["http/1.1"])));
    let fixture = offering_http2(&ca);
    let ahead = fixture.preconnect(Scheme::Https, NAME, &[silent.addr]);
    assert_eq!(
        until("the connection", async || silent.seen()).await,
        Seen::Request(0)
    );
    // The judgement of this request has another address.
    other.go_on();
    other.go_on();
    assert_eq!(fixture.ask_tls(&[other.server.addr]).await.unwrap(), "ok");
    assert!(silent.seen().is_none(), "it waits");
    drop(ahead);
    assert_eq!(until("its end", async || silent.seen()).await, Seen::Closed(0));
}
