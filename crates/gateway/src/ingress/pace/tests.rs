use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use admission::ports::WatchState;
use testkit::wait::PATIENCE;
use tokio::io::{AsyncReadExt, AsyncWrite as _, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

use super::*;

const LIMITS: PaceLimits = PaceLimits {
    head: Duration::from_millis(40),
    idle: Duration::from_millis(120),
    write: Duration::from_millis(60),
};

/// A paced stream over a pipe, and the client's end of it.
fn paced() -> (Paced<tokio::io::DuplexStream>, Arc<Pace>, tokio::io::DuplexStream) {
    paced_by(LIMITS)
}

fn paced_by(limits: PaceLimits) -> (Paced<tokio::io::DuplexStream>, Arc<Pace>, tokio::io::DuplexStream) {
    let (server, client) = tokio::io::duplex(64);
    let pace = Pace::new(limits, false);
    (Paced::new(server, Arc::clone(&pace)), pace, client)
}

#[tokio::test]
async fn pace_head_must_be_complete_soon_after_its_first_byte() {
    // No other limit can be the one that ends it.
    let far = Duration::from_secs(3600);
    let (mut stream, _pace, mut client) = paced_by(PaceLimits {
        idle: far,
        write: far,
        ..LIMITS
    });
    client.write_all(b"G").await.unwrap();
    assert_eq!(stream.read_u8().await.unwrap(), b'G');
    let read = tokio::time::timeout(PATIENCE, stream.read_u8()).await;
    assert_eq!(read.unwrap().unwrap_err().kind(), io::ErrorKind::TimedOut);
}

#[tokio::test]
async fn pace_idle_connection_ends_at_the_idle_limit() {
    let started = clock::instant();
    let (mut stream, _pace, _client) = paced();
    assert_eq!(
        stream.read_u8().await.unwrap_err().kind(),
        io::ErrorKind::TimedOut
    );
    assert!(started.elapsed() >= LIMITS.idle);
}

#[tokio::test]
async fn pace_request_in_flight_suspends_the_read_limits() {
    let (mut stream, pace, mut client) = paced();
    client.write_all(b"G").await.unwrap();
    stream.read_u8().await.unwrap();
    let in_flight = pace.request(http::Version::HTTP_11);
    let pending = tokio::time::timeout(LIMITS.idle * 2, stream.read_u8()).await;
    assert!(pending.is_err(), "no limit while the request is in flight");
    drop(in_flight);
    assert_eq!(
        stream.read_u8().await.unwrap_err().kind(),
        io::ErrorKind::TimedOut,
        "idle again"
    );
}

#[test]
fn pace_request_that_begins_while_the_last_one_ends_suspends_the_read_limits() {
    let pace = Pace::new(LIMITS, true);
    let in_flight = pace.request(http::Version::HTTP_2);
    // What the end of the other request does last, on another thread.
    pace.mark(IDLE);
    assert_eq!(pace.read_deadline(), None);
    drop(in_flight);
    assert!(pace.read_deadline().is_some());
}

#[tokio::test]
async fn pace_stalled_write_ends_the_connection() {
    let (mut stream, _pace, _client) = paced();
    let error = stream.write_all(&[0; 1024]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
}

/// An authority that ends with the token.
struct Authority(CancellationToken);

impl Watch for Authority {
    fn poll_now(&self) -> WatchState {
        match self.0.is_cancelled() {
            true => WatchState::Revoked,
            false => WatchState::Quiet,
        }
    }

    fn revoked(&self) -> BoxFuture<'static, ()> {
        Box::pin(self.0.clone().cancelled_owned())
    }
}

#[tokio::test]
async fn pace_revocation_ends_a_response_that_began_behind_a_stalled_one() {
    let (mut stream, pace, _client) = paced_by(PaceLimits {
        write: Duration::from_secs(3600),
        ..LIMITS
    });
    let mut write = async || {
        let write = poll_fn(|cx| Poll::Ready(Pin::new(&mut stream).poll_write(cx, &[0; 1024])));
        match write.await {
            Poll::Ready(Ok(_)) => "taken",
            Poll::Ready(Err(_)) => "ended",
            Poll::Pending => "stalled",
        }
    };
    assert_eq!([write().await, write().await], ["taken", "stalled"]);
    let revoked = CancellationToken::new();
    let authority: Arc<dyn Watch> = Arc::new(Authority(revoked.clone()));
    let response = pace.request(http::Version::HTTP_11);
    response.rests_on(&authority);
    assert_eq!(write().await, "stalled");
    revoked.cancel();
    assert_eq!(write().await, "ended");
}

#[tokio::test]
async fn pace_untaken_response_stalls_a_multiplexed_connection_only() {
    let pace = Pace::new(LIMITS, true);
    let response = pace.request(http::Version::HTTP_2);
    assert!(!pace.is_stalled());
    response.handed_over();
    tokio::time::sleep(LIMITS.write * 2).await;
    assert!(pace.is_stalled());
    response.taken();
    assert!(!pace.is_stalled());
    response.handed_over();
    drop(response);
    assert!(!pace.is_stalled());
}

#[tokio::test]
async fn pace_alarm_rings_at_the_latest_deadline_it_was_given() {
    let mut alarm = Alarm::default();
    let start = clock::instant();
    let late = start + Duration::from_millis(80);
    let early = start + Duration::from_millis(20);
    // Armed late, moved earlier, moved late again: it never rings early, and at last it rings.
    for deadline in [late, early, late] {
        let rings = poll_fn(|cx| Poll::Ready(alarm.poll(cx, deadline).is_ready())).await;
        assert!(!rings || clock::instant() >= deadline);
    }
    poll_fn(|cx| alarm.poll(cx, late)).await;
    assert!(clock::instant() >= late);
}
