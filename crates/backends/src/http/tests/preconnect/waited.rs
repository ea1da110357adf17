//! Connections that are made ahead of their requests, and wait for them.

use std::time::Duration;

use admission::Scheme;

use super::super::super::PoolLimits;
use super::super::door::Door;
use super::super::server::{OK, Seen, Server, request};
use super::super::{Fixture, Marks};

#[tokio::test]
async fn preconnect_is_never_idle_and_one_that_no_request_took_is_followed_by_none_for_a_while() {
    let (server, fixture) = (Server::echo(), Fixture::new(PoolLimits::default()));
    let addresses = [server.addr];
    let preconnect = || fixture.preconnect(Scheme::Http, "a", &addresses);
    let (first, last) = (preconnect(), preconnect());
    fixture.settled().await;
    assert_eq!(fixture.client.stats().idle, 0);
    drop(first);
    assert!(server.seen().is_none(), "it waits");
    drop(last);
    assert_eq!(server.next(), Seen::Closed(0));
    for _refused in 0..3 {
        let _ahead = preconnect();
        assert!(fixture.tracker.is_empty());
    }
    // Who is granted makes its own.
    assert_eq!(fixture.ask("a", server.addr).await, "ok");
    assert_eq!(fixture.client.stats().dialled, 2);
    fixture.clock.advance(Duration::from_secs(90));
    fixture.until(|stats| stats.idle == 0).await;
    let _ahead = preconnect();
    fixture.settled().await;
    assert_eq!(fixture.client.stats().dialled, 3);
    // A pool that keeps nothing has them made, too.
    let limits = PoolLimits {
        total: 0,
        ..PoolLimits::default()
    };
    let fixture = Fixture::new(limits);
    let _ahead = fixture.preconnect(Scheme::Http, "a", &addresses);
    fixture.settled().await;
    assert_eq!(fixture.ask("a", server.addr).await, "ok");
    assert_eq!(fixture.client.stats().dialled, 1);
}

#[tokio::test]
async fn preconnect_that_waited_for_five_seconds_closes() {
    for is_swept in [false, true] {
        let (server, fixture) = (Server::echo(), Fixture::new(PoolLimits::default()));
        let _ahead = fixture.preconnect(Scheme::Http, "a", &[server.addr]);
        fixture.settled().await;
        fixture.clock.advance(Duration::from_secs(5));
        if is_swept {
            fixture.client.sweep();
            assert_eq!(server.next(), Seen::Closed(0));
        }
        assert_eq!(fixture.ask("a", server.addr).await, "ok");
        assert_eq!(fixture.client.stats().dialled, 2);
        let mut seen = [(); 2].map(|()| (!is_swept).then(|| server.next()));
        seen.sort_by_key(|seen| *seen != Some(Seen::Closed(0)));
        assert!(is_swept || seen == [Some(Seen::Closed(0)), Some(Seen::Request(1))]);
    }
}

#[tokio::test]
async fn preconnect_that_waited_counts_as_a_used_connection() {
    // Its server gives up on who says nothing, or just when it does.
    for has_gone in [true, false] {
        let server = Server::start(move |number, stream, seen| {
            if number == 0 && has_gone {
                let late = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n";
                std::io::Write::write_all(stream, late).unwrap();
                stream.shutdown(std::net::Shutdown::Both).unwrap();
                let _ = seen.send(Seen::Closed(number));
            }
            while request(stream) && number != 0 {
                let _ = std::io::Write::write_all(stream, OK.as_bytes());
            }
        });
        let fixture = Fixture::new(PoolLimits::default());
        let addresses = [server.addr];
        let _ahead = fixture.preconnect(Scheme::Http, "a", &addresses);
        fixture.settled().await;
        if has_gone {
            assert_eq!(server.next(), Seen::Closed(0));
            let marks = Marks::default();
            assert_eq!(fixture.head("a", &addresses, &marks).await.unwrap().status(), 200);
            assert_eq!(*marks.0.lock().unwrap(), ["pooled", "take back", "fresh"]);
        } else {
            let door = Door::letting_out(2);
            assert_eq!(fixture.head("a", &addresses, &door).await.unwrap().status(), 200);
            assert_eq!(door.marked(), 2);
        }
        let stats = fixture.client.stats();
        let found_dead = u64::from(has_gone);
        assert_eq!(
            (stats.dialled, stats.reused, stats.found_dead),
            (2, 0, found_dead)
        );
    }
}
