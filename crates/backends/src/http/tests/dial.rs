//! Which of several addresses is dialled, and for how long.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use super::server::Server;
use super::{Fixture, Marks, PoolLimits, SendFailure};

#[tokio::test]
async fn dial_goes_on_to_the_next_address_and_fails_with_the_last() {
    let (server, fixture) = (Server::echo(), Fixture::new(PoolLimits::default()));
    let refusing: SocketAddr = {
        let listener = TcpListener::bind(("127.0.0.3", 0)).unwrap();
        listener.local_addr().unwrap()
    };
    let response = fixture.head("a", &[refusing, server.addr], &()).await;
    assert_eq!(response.unwrap().status(), 200);
    let marks = Marks::default();
    for addresses in [&[refusing][..], &[]] {
        let failed = fixture.head("b", addresses, &marks).await.err().unwrap();
        assert!(matches!(failed, SendFailure::Connect(_)), "{failed:?}");
    }
    assert!(marks.0.lock().unwrap().is_empty(), "nothing can have left");
}

#[tokio::test]
async fn dial_does_not_wait_for_an_address_that_says_nothing() {
    let (server, fixture) = (Server::echo(), Fixture::new(PoolLimits::default()));
    // A listener whose backlog is full swallows further connections.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket
        .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
        .unwrap();
    socket.listen(0).unwrap();
    let silent = socket.local_addr().unwrap().as_socket().unwrap();
    let _fill = TcpStream::connect(silent).unwrap();
    let wait = Duration::from_millis(100);
    assert!(
        TcpStream::connect_timeout(&silent, wait).is_err(),
        "the backlog is full"
    );
    let addresses = [silent, server.addr];
    // All addresses together have five seconds: the silent one alone would use them up.
    let response = fixture.head("a", &addresses, &()).await;
    assert_eq!(response.unwrap().status(), 200);
}
