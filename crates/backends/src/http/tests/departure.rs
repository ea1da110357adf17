use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http_body_util::BodyExt as _;

use super::super::client::Leaving;
use super::super::socket::Guard;
use super::super::{PoolLimits, SendFailure};
use super::Fixture;
use super::server::{Seen, Server};

/// Counts the requests that want out, and lets them or not.
struct Door {
    asked: Arc<AtomicUsize>,
    is_open: bool,
}

impl Leaving for Door {
    fn mark(&self) {}
    fn take_back(&self) {}
    fn guard(&self) -> Option<Guard> {
        let (asked, is_open) = (Arc::clone(&self.asked), self.is_open);
        Some(Arc::new(move || {
            asked.fetch_add(1, Ordering::Relaxed);
            if is_open {
                Ok(())
            } else {
                Err(io::Error::other("closed"))
            }
        }))
    }
}

#[tokio::test]
async fn guard_is_asked_once_for_each_request_and_keeps_its_first_byte_back() {
    let (server, fixture) = (Server::echo(), Fixture::new(PoolLimits::default()));
    let asked = Arc::new(AtomicUsize::new(0));
    let door = |is_open| Door {
        asked: Arc::clone(&asked),
        is_open,
    };
    for _ in ["fresh", "pooled"] {
        let response = fixture.head("a", &[server.addr], &door(true)).await.unwrap();
        response.into_body().collect().await.unwrap();
        assert_eq!(server.next(), Seen::Request(0));
    }
    assert_eq!(asked.load(Ordering::Relaxed), 2);
    let failed = fixture
        .head("a", &[server.addr], &door(false))
        .await
        .err()
        .unwrap();
    assert!(matches!(failed, SendFailure::Barred(_)), "{failed:?}");
    // What the server sees next came on a connection of its own.
    fixture.head("a", &[server.addr], &door(true)).await.unwrap();
    let seen = [server.next(), server.next()];
    assert!(
        seen.contains(&Seen::Request(1)) && seen.contains(&Seen::Closed(0)),
        "{seen:?}"
    );
}
