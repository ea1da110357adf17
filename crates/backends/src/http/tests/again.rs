//! A request that is sent once more.

use std::io;
use std::time::Duration;

use http_body_util::BodyExt as _;

use super::super::{PoolLimits, SendFailure};
use super::Fixture;
use super::door::Door;
use super::server::{Seen, Server, request};

/// A server whose every connection answers one request and hangs up upon the next.
fn forgetful() -> Server {
    Server::start(|number, stream, seen| {
        for answer in [super::server::OK, ""] {
            if !request(stream) {
                return;
            }
            let _ = seen.send(Seen::Request(number));
            let _ = io::Write::write_all(stream, answer.as_bytes());
        }
    })
}

#[tokio::test]
async fn repeated_request_is_marked_for_each_try() {
    let (server, fixture) = (forgetful(), Fixture::new(PoolLimits::default()));
    fixture.ask("a", server.addr).await;
    assert_eq!(server.next(), Seen::Request(0));
    let crossing = Door::letting_out(2);
    let response = fixture.head("a", &[server.addr], &crossing).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "ok");
    assert_eq!(
        [server.next(), server.next()],
        [Seen::Request(0), Seen::Request(1)]
    );
    assert_eq!(crossing.marked(), 2);

    // Where the second departure cannot be marked, nothing leaves a second time; the first may have been received.
    let barred = Door::letting_out(1);
    let failed = fixture.head("a", &[server.addr], &barred).await.err().unwrap();
    assert!(matches!(failed, SendFailure::MaybeSent(_)), "{failed:?}");
    assert_eq!(server.next(), Seen::Request(1), "the used connection");
    assert_eq!(barred.marked(), 2);
    fixture.ask("a", server.addr).await;
    assert_eq!(
        server.next(),
        Seen::Request(3),
        "nothing was heard of the barred one"
    );
}

#[tokio::test]
async fn repeated_request_may_have_met_a_reset() {
    let server = Server::start(|number, stream, _| {
        assert!(request(stream));
        let _ = io::Write::write_all(stream, super::server::OK.as_bytes());
        if request(stream) && number == 0 {
            socket2::SockRef::from(&*stream)
                .set_linger(Some(Duration::ZERO))
                .unwrap();
        }
    });
    let fixture = Fixture::new(PoolLimits::default());
    fixture.ask("a", server.addr).await;
    let crossing = Door::letting_out(2);
    let response = fixture.head("a", &[server.addr], &crossing).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "ok");
    assert_eq!(crossing.marked(), 2);
}

#[tokio::test]
async fn repeated_request_whose_server_is_gone_may_have_been_sent() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    // It listens no longer when the second request comes.
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        drop(listener);
        assert!(request(&mut stream));
        io::Write::write_all(&mut stream, super::server::OK.as_bytes()).unwrap();
        assert!(request(&mut stream));
    });
    let fixture = Fixture::new(PoolLimits::default());
    fixture.ask("a", addr).await;
    let crossing = Door::letting_out(2);
    let failed = fixture.head("a", &[addr], &crossing).await.err().unwrap();
    assert!(matches!(failed, SendFailure::MaybeSent(_)), "{failed:?}");
    assert_eq!(crossing.marked(), 1);
}

#[tokio::test]
async fn repeated_request_did_not_go_over_a_fresh_connection() {
    let server = Server::start(|_, stream, _| assert!(request(stream)));
    let (fixture, crossing) = (Fixture::new(PoolLimits::default()), Door::letting_out(2));
    let failed = fixture.head("a", &[server.addr], &crossing).await.err().unwrap();
    assert!(matches!(failed, SendFailure::MaybeSent(_)), "{failed:?}");
    assert_eq!(crossing.marked(), 1);
}
