use std::future::poll_fn;
use std::io::ErrorKind;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use admission::ports::{BoxFuture, Watch, WatchState};
use bytes::Bytes;
use http::{Request, Version};
use http_body_util::{Empty, Full};
use testkit::wait::PATIENCE;
use tokio::io::{AsyncRead as _, AsyncReadExt, AsyncWrite as _, AsyncWriteExt, DuplexStream, ReadBuf};
use tokio_util::sync::CancellationToken;

use super::state::ConnectionState;
use super::timed_io::TimedIo;
use super::*;
use crate::authority::Authority;

/// No other limit can be the one that ends it.
const FAR: Duration = Duration::from_secs(3600);
const LIMITS: TimeLimits = TimeLimits {
    head: FAR,
    idle: FAR,
    write: FAR,
};
const SOON: Duration = Duration::from_millis(40);

impl Transport for DuplexStream {
    fn reset(&self) {}

    fn has_failed(&self) -> bool {
        false
    }
}

/// A timed stream over a pipe, and the caller's end of it.
fn timed(limits: TimeLimits) -> (TimedIo<DuplexStream>, Arc<ConnectionTimer>, DuplexStream) {
    let (server, client) = tokio::io::duplex(64);
    let timer = ConnectionTimer::new(limits);
    (TimedIo::new(server, Arc::clone(&timer)), timer, client)
}

fn request(version: Version) -> Request<Empty<Bytes>> {
    Request::builder().version(version).body(Empty::new()).unwrap()
}

async fn read_error(stream: &mut TimedIo<DuplexStream>) -> ErrorKind {
    let read = tokio::time::timeout(PATIENCE, stream.read_u8()).await;
    read.unwrap().unwrap_err().kind()
}

#[tokio::test]
async fn timed_head_must_be_complete_soon_after_its_first_byte() {
    let (mut stream, _timer, mut client) = timed(TimeLimits { head: SOON, ..LIMITS });
    client.write_all(b"G").await.unwrap();
    assert_eq!(stream.read_u8().await.unwrap(), b'G');
    assert_eq!(read_error(&mut stream).await, ErrorKind::TimedOut);
}

#[tokio::test]
async fn timed_idle_connection_ends_at_the_idle_limit() {
    let (mut stream, _timer, _client) = timed(TimeLimits { idle: SOON, ..LIMITS });
    assert_eq!(read_error(&mut stream).await, ErrorKind::TimedOut);
}

/// It is polled again when the library may be given up, and keeps the byte that ends its rest.
#[tokio::test]
async fn timed_idle_connection_comes_to_rest_and_begins_again() {
    let (mut stream, timer, mut client) = timed(LIMITS);
    let mut bytes = [0; 8];
    let resting = poll_fn(|cx| {
        let read = Pin::new(&mut stream).poll_read(cx, &mut ReadBuf::new(&mut bytes));
        assert!(read.is_pending());
        if timer.rests() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    });
    tokio::time::timeout(PATIENCE, resting).await.unwrap();
    client.write_all(b"G").await.unwrap();
    assert!(stream.begins().await.unwrap());
    assert!(!timer.rests());
    assert_eq!(stream.read_u8().await.unwrap(), b'G');
    drop(client);
    assert!(!stream.begins().await.unwrap());
}

#[tokio::test]
async fn timed_head_that_is_too_large_is_not_given_whole() {
    let (mut stream, timer, mut client) = timed(LIMITS);
    let mut sent = 0;
    let sending = async {
        while client.write_all(b"A: b\r\n").await.is_ok() {
            sent += 6;
        }
    };
    let mut read = Vec::new();
    let reading = async {
        stream.read_to_end(&mut read).await.unwrap();
        assert!(stream.is_head_too_large());
        drop(stream);
    };
    tokio::join!(sending, reading);
    assert_eq!(read.len(), 16 * 1024);
    assert!(sent >= read.len());
    assert!(matches!(timer.state(), ConnectionState::Draining { .. }));
}

#[tokio::test]
async fn timed_bytes_behind_a_request_begin_the_next_head() {
    let limits = TimeLimits { head: SOON, ..LIMITS };
    let (mut stream, timer, mut client) = timed(limits);
    client.write_all(b"A / HTTP/1.1\r\n\r\nhelloGE").await.unwrap();
    let mut buf = [0; 64];
    assert_eq!(stream.read(&mut buf).await.unwrap(), 16, "a head, and no more");
    let body = Full::new(Bytes::from_static(b"hello"));
    let in_flight = InFlight::begin(&timer, &Request::new(body));
    assert_eq!(stream.read(&mut buf).await.unwrap(), 5, "its body, and no more");
    drop(in_flight);
    assert_eq!(stream.read(&mut buf).await.unwrap(), 2);
    assert_eq!(read_error(&mut stream).await, ErrorKind::TimedOut);
}

#[tokio::test]
async fn timed_preface_of_http2_is_seen_and_kept() {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    for (bytes, is_http2) in [
        (PREFACE, true),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\rX", false),
        (b"PUT", false),
    ] {
        let (mut stream, _timer, mut client) = timed(LIMITS);
        client.write_all(bytes).await.unwrap();
        drop(client);
        assert_eq!(stream.opens_http2().await.unwrap(), is_http2);
        let mut read = Vec::new();
        stream.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, bytes);
    }
}

#[tokio::test]
async fn timed_stalled_write_ends_the_connection_and_says_why() {
    let (mut stream, timer, _client) = timed(TimeLimits {
        write: SOON,
        ..LIMITS
    });
    let in_flight = InFlight::begin(&timer, &request(Version::HTTP_11));
    assert_eq!(in_flight.ended_by(), None);
    let error = stream.write_all(&[0; 1024]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert_eq!(in_flight.ended_by(), Some(Ending::WriteTimeout));
}

#[tokio::test]
async fn timed_caller_that_only_ends_its_side_has_not_left() {
    let (mut stream, timer, mut client) = timed(LIMITS);
    let in_flight = InFlight::begin(&timer, &request(Version::HTTP_11));
    client.shutdown().await.unwrap();
    stream.flush().await.unwrap();
    assert_eq!(in_flight.ended_by(), None);
    stream.write_all(b"an answer").await.unwrap();
    drop(client);
    assert!(stream.write_all(b"more").await.is_err());
    assert_eq!(in_flight.ended_by(), Some(Ending::CallerLeft));
}

/// An authority that ends with the token.
struct Anchor(CancellationToken);

impl Watch for Anchor {
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
async fn timed_revocation_ends_a_response_that_began_behind_a_stalled_one() {
    let (mut stream, timer, _client) = timed(LIMITS);
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
    let response = InFlight::begin(&timer, &request(Version::HTTP_11));
    response.rests_on(Authority::new(Arc::new(Anchor(revoked.clone()))));
    assert_eq!(write().await, "stalled");
    assert!(!response.is_taken());
    revoked.cancel();
    assert_eq!(write().await, "ended");
    assert_eq!(response.ended_by(), Some(Ending::Revoked));
}

#[tokio::test]
async fn timed_stream_is_ended_alone() {
    let (_stream, timer, _client) = timed(TimeLimits {
        write: SOON,
        ..LIMITS
    });
    timer.after(Event::Http2(clock::instant()));
    let [late, other] = [(); 2].map(|()| InFlight::begin(&timer, &request(Version::HTTP_2)));
    assert_eq!(other.take_by(), None);
    late.handed_over();
    assert!(late.take_by().is_some());
    assert!(!late.is_taken() && other.is_taken());
    late.taken();
    assert_eq!(late.take_by(), None);
    assert!(late.is_taken());
    late.end_stream(Ending::WriteTimeout);
    assert_eq!(late.ended_by(), Some(Ending::WriteTimeout));
    assert_eq!(other.ended_by(), None);
    timer.end(Ending::Stopped);
    assert_eq!(other.ended_by(), Some(Ending::Stopped));
    assert_eq!(
        late.ended_by(),
        Some(Ending::WriteTimeout),
        "the first reason stands"
    );
}

/// Answers everything with nothing.
struct Nobody;

impl LiveBody for Full<Bytes> {
    fn is_live(&self) -> bool {
        false
    }
}

impl Handler for Nobody {
    type Body = Full<Bytes>;

    async fn answer(&self, _: Request<Incoming>, _: Peer, _: InFlight) -> Response<Full<Bytes>> {
        Response::default()
    }
}

/// Ten thousand live streams are as many connections: the task of each holds what it needs for its whole life, and the
/// rest lies in boxes that end sooner.
#[tokio::test]
async fn connection_is_a_small_task() {
    let token = CancellationToken::new;
    let context = ConnectionContext {
        handler: Arc::new(Nobody),
        limits: LIMITS,
        shutdown: Shutdown {
            drain: token(),
            idle: token(),
            streams: token(),
            cut: token(),
        },
        connections: TaskTracker::new(),
    };
    let peer = Peer {
        address: ([127, 0, 0, 1], 1).into(),
        scheme: Scheme::Http,
        certificate: None,
    };
    let (stream, _client) = tokio::io::duplex(64);
    let connection = serve(stream, peer, Protocol::Either, context);
    let size = size_of_val(&connection);
    assert!(size <= 1536, "{size} bytes");
}

/// A connection whose TLS stops without its own end behind these bytes.
struct Truncated(&'static [u8]);

impl tokio::io::AsyncRead for Truncated {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let bytes = std::mem::take(&mut self.0);
        buf.put_slice(bytes);
        Poll::Ready(match bytes.is_empty() {
            true => Err(ErrorKind::UnexpectedEof.into()),
            false => Ok(()),
        })
    }
}

impl tokio::io::AsyncWrite for Truncated {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Transport for Truncated {
    fn reset(&self) {}

    fn has_failed(&self) -> bool {
        false
    }
}

#[tokio::test]
async fn timed_connection_that_is_truncated_behind_a_switch_has_broken_and_not_ended() {
    for is_switched in [false, true] {
        let timer = ConnectionTimer::new(LIMITS);
        let mut stream = TimedIo::new(Truncated(b"sent"), Arc::clone(&timer));
        let _in_flight = InFlight::begin(&timer, &request(Version::HTTP_11));
        if is_switched {
            stream.switches();
        }
        // Nobody reads.
        let gone = poll_fn(|cx| Poll::Ready(stream.poll_gone(cx))).await;
        assert_eq!(gone.is_ready(), is_switched);
        let mut seen = Vec::new();
        let read = stream.read_to_end(&mut seen).await;
        assert_eq!((&seen[..], read.is_err()), (&b"sent"[..], is_switched));
    }
}
