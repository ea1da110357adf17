use std::io::{Read as _, Write as _};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use admission::Scheme;
use http_body_util::{BodyExt as _, Full};
use rustls::{ServerConnection, StreamOwned};
use testkit::tls::Ca;

use super::super::connections::Target;
use super::super::{PoolLimits, SendFailure};
use super::door::Door;
use super::server::{OK, Seen, Server, request};
use super::{Fixture, client_with, get, origin};
use crate::tls::ClientTls;

#[tokio::test]
async fn guard_is_asked_once_for_each_request_and_keeps_its_first_byte_back() {
    let (server, fixture) = (Server::echo(), Fixture::new(PoolLimits::default()));
    let door = Door::letting_out(2);
    for _ in ["fresh", "pooled"] {
        let response = fixture.head("a", &[server.addr], &door).await.unwrap();
        response.into_body().collect().await.unwrap();
        assert_eq!(server.next(), Seen::Request(0));
    }
    assert_eq!((door.kept(), door.marked()), (1, 2), "it waits only to dial");
    let failed = fixture.head("a", &[server.addr], &door).await.err().unwrap();
    assert!(matches!(failed, SendFailure::Barred(_)), "{failed:?}");
    let shut = Door::shut();
    let failed = fixture.head("b", &[server.addr], &shut).await.err().unwrap();
    assert!(matches!(failed, SendFailure::Barred(_)), "{failed:?}");
    let door = Door::letting_out(1);
    // What the server sees next came on a connection of its own, and nobody dialled in between.
    fixture.head("a", &[server.addr], &door).await.unwrap();
    let seen = [server.next(), server.next()];
    assert!(
        seen.contains(&Seen::Request(1)) && seen.contains(&Seen::Closed(0)),
        "{seen:?}"
    );
}

#[tokio::test]
async fn farewell_of_a_dead_connection_is_not_taken_for_a_request() {
    let ca = Ca::new();
    let config = Arc::new(ca.server(&["api.example"]).server_config(&["http/1.1"]));
    let (hang_up, told) = channel();
    let told = Mutex::new(told);
    let server = Server::start(move |number, tcp, seen| {
        // Or the farewell would wait for the acknowledgement of what was sent before.
        tcp.set_nodelay(true).unwrap();
        let session = ServerConnection::new(Arc::clone(&config)).unwrap();
        let mut stream = StreamOwned::new(session, tcp);
        assert!(request(&mut stream));
        stream.write_all(OK.as_bytes()).unwrap();
        stream.flush().unwrap();
        let _ = seen.send(Seen::Request(number));
        if number == 0 {
            told.lock().unwrap().recv().unwrap();
            stream.conn.send_close_notify();
            stream.flush().unwrap();
            let _ = seen.send(Seen::Closed(number));
        }
        let _ = stream.sock.read_to_end(&mut Vec::new());
        let _ = seen.send(Seen::Closed(number));
    });
    let tls = ClientTls {
        authorities: Some(crate::tls::tests::certificates(ca.pem())),
        identity: None,
    };
    let (client, _clock, _tracker) = client_with(PoolLimits::default(), &tls);
    let origin = origin(Scheme::Https, "api.example", 443);
    let target = Target {
        origin: &origin,
        addresses: &[server.addr],
    };
    let door = Door::letting_out(2);
    let first = client
        .send_to(&target, get(Full::default()), &door)
        .await
        .unwrap();
    first.into_body().collect().await.unwrap();
    assert_eq!(server.next(), Seen::Request(0));
    // The runtime has no turn in which it would learn of it.
    hang_up.send(()).unwrap();
    assert_eq!(server.next(), Seen::Closed(0));
    let second = client
        .send_to(&target, get(Full::default()), &door)
        .await
        .unwrap();
    second.into_body().collect().await.unwrap();
    let seen = [(); 2].map(|()| server.next());
    assert!(
        seen.contains(&Seen::Request(1)) && seen.contains(&Seen::Closed(0)),
        "{seen:?}"
    );
    assert_eq!(client.stats().found_dead, 1);
    assert_eq!(door.kept(), 2, "before each of them is dialled");
    assert_eq!(door.marked(), 2);
}
