//! Bytes that a server sends without being asked must not become the answer of the next request.

use std::io::Write as _;
use std::sync::Mutex;
use std::sync::mpsc::channel;

use super::server::{OK, Seen, Server, request, until_closed};
use super::{Fixture, PoolLimits};

const UNASKED: &str = "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nunasked";

/// A server whose first connection answers with this, and sends that when it is told to.
async fn second_answer(with_the_first: &'static str, later: &'static str) -> (Fixture, Server) {
    let (send, sending) = channel::<()>();
    let sending = Mutex::new(sending);
    let server = Server::start(move |number, stream, seen| {
        assert!(request(stream));
        if number > 0 {
            let _ = stream.write_all(OK.as_bytes());
        } else {
            let _ = stream.write_all(format!("{OK}{with_the_first}").as_bytes());
            sending.lock().unwrap().recv().unwrap();
            let _ = stream.write_all(later.as_bytes());
        }
        let _ = seen.send(Seen::Request(number));
        until_closed(stream);
    });
    let fixture = Fixture::new(PoolLimits::default());
    assert_eq!(fixture.ask("a", server.addr).await, "ok");
    send.send(()).unwrap();
    assert_eq!(server.next(), Seen::Request(0));
    (fixture, server)
}

#[tokio::test]
async fn answer_that_nobody_asked_for_is_nobodys() {
    for (with_the_first, later) in [(UNASKED, ""), ("", UNASKED), ("H", "")] {
        let (fixture, server) = second_answer(with_the_first, later).await;
        assert_eq!(fixture.ask("a", server.addr).await, "ok");
        assert_eq!(server.next(), Seen::Request(1), "a fresh connection");
    }
}
