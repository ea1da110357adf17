//! Connections for requests that ask for a switch of protocols.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;

use admission::Scheme;
use bytes::Bytes;
use http::Response;
use http_body_util::{BodyExt as _, Full};
use hyper::ext::ReasonPhrase;
use rustls::{ServerConnection, StreamOwned};
use testkit::clock::FixedClock;
use testkit::tls::Ca;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_util::task::TaskTracker;

use super::super::connections::Target;
use super::super::{Client, ClientConfig, Http2Config, PoolLimits, PooledBody};
use super::door::Door;
use super::server::{OK, Seen, Server, request, until_closed};
use super::{Fixture, get, origin};
use crate::tls::{ClientTls, TlsClient, upstream_client_config};

const SWITCHED: &str =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: foo\r\n\r\nbehind";
/// With a reason phrase beyond ASCII.
const NOT_SWITCHED: &[u8] = b"HTTP/1.1 200 F\xfcr nichts\r\nContent-Length: 2\r\n\r\nok";

async fn switch(
    client: &Client<Full<Bytes>>,
    scheme: Scheme,
    address: SocketAddr,
    door: &Door,
) -> Response<PooledBody<Full<Bytes>>> {
    let origin = origin(scheme, "api.example", 443);
    let target = Target {
        origin: &origin,
        addresses: &[address],
    };
    let sent = client.send_to_switch(&target, get(Full::default()), door);
    sent.await.unwrap()
}

#[tokio::test]
async fn upgraded_connection_is_made_for_its_request_and_is_nobody_elses() {
    let server = Server::start(|number, stream, seen| {
        while request(stream) {
            let _ = seen.send(Seen::Request(number));
            if number == 1 {
                let mut up = [0; 2];
                stream.write_all(SWITCHED.as_bytes()).unwrap();
                stream.read_exact(&mut up).unwrap();
                stream.write_all(&up).unwrap();
                until_closed(stream);
                break;
            }
            let _ = stream.write_all(if number == 2 { NOT_SWITCHED } else { OK.as_bytes() });
        }
        let _ = seen.send(Seen::Closed(number));
    });
    let fixture = Fixture::new(PoolLimits::default());
    let origin = origin(Scheme::Http, "api.example", 443);
    let target = Target {
        origin: &origin,
        addresses: &[server.addr],
    };
    let ask = async || {
        let answer = fixture.client.send_to(&target, get(Full::default()), &());
        answer.await.unwrap().into_body().collect().await.unwrap();
        server.next()
    };
    assert_eq!(ask().await, Seen::Request(0));

    let door = Door::letting_out(2);
    let answer = switch(&fixture.client, Scheme::Http, server.addr, &door).await;
    assert_eq!((answer.status().as_u16(), server.next()), (101, Seen::Request(1)));
    let mut upgraded = answer.into_body().into_upgraded().unwrap();
    let mut behind = [0; 6];
    upgraded.read_exact(&mut behind).await.unwrap();
    upgraded.write_all(b"up").await.unwrap();
    let mut up = [0; 2];
    upgraded.read_exact(&mut up).await.unwrap();
    assert_eq!((&behind, &up), (b"behind", b"up"));
    drop(upgraded);
    // The server is told by a task that has its turn only when this one waits.
    fixture.until(|_| server.seen() == Some(Seen::Closed(1))).await;

    // One that is not switched carries no other request either.
    let answer = switch(&fixture.client, Scheme::Http, server.addr, &door).await;
    assert_eq!(server.next(), Seen::Request(2));
    let reason = answer.extensions().get::<ReasonPhrase>();
    assert_eq!(reason.map(ReasonPhrase::as_bytes), Some(&b"F\xfcr nichts"[..]));
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "ok");
    fixture.until(|_| server.seen() == Some(Seen::Closed(2))).await;
    assert_eq!(ask().await, Seen::Request(0));
    assert_eq!((door.kept(), door.marked()), (2, 2));
    assert_eq!(fixture.client.stats().idle, 1);
}

#[tokio::test]
async fn upgraded_connection_speaks_http1_also_to_a_server_that_would_rather_not() {
    let ca = Ca::new();
    let config = Arc::new(ca.server(&["api.example"]).server_config(&["h2", "http/1.1"]));
    let server = Server::start(move |_, tcp, seen| {
        let session = ServerConnection::new(Arc::clone(&config)).unwrap();
        let mut stream = StreamOwned::new(session, tcp);
        assert!(request(&mut stream));
        let is_http1 = stream.conn.alpn_protocol() == Some(b"http/1.1");
        let _ = seen.send(Seen::Request(usize::from(is_http1)));
        stream.write_all(SWITCHED.as_bytes()).unwrap();
        stream.flush().unwrap();
        let _ = stream.sock.read_to_end(&mut Vec::new());
    });
    let tls = ClientTls {
        authorities: Some(crate::tls::tests::certificates(ca.pem())),
        identity: None,
    };
    let config = ClientConfig {
        tls: TlsClient::new(upstream_client_config(&tls).unwrap()),
        http2: Http2Config::default(),
        limits: PoolLimits::default(),
    };
    let client = Client::new(config, Arc::new(FixedClock::default()), TaskTracker::new());
    let door = Door::letting_out(1);
    let answer = switch(&client, Scheme::Https, server.addr, &door).await;
    assert_eq!((answer.status().as_u16(), server.next()), (101, Seen::Request(1)));
}
