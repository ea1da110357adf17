//! One inbound connection: HTTP/1.1 or HTTP/2 over a paced stream.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use forwarding::Scheme;
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::pace::{Pace, PaceLimits, Paced};
use super::streams::Streams;
use crate::front::Front;

/// Most bytes of a request head, and of an HTTP/2 header list.
pub const MAX_HEAD_BYTES: usize = 16 * 1024;
const H2_STREAMS: u32 = 100;
const H2_STREAM_WINDOW: u32 = 64 * 1024;
const H2_CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Most bytes of a response that wait in the library for a client that does not take them.
const H2_SEND_BUFFER: usize = 64 * 1024;
/// Bounds on streams that were reset before anything was done for them (CVE-2023-44487, CVE-2025-8671).
const H2_PENDING_RESETS: usize = 20;
const H2_LOCAL_RESETS: usize = 128;
const H2_PING_EVERY: Duration = Duration::from_secs(30);
const H2_PING_WAIT: Duration = Duration::from_secs(20);
/// How often a multiplexed connection is looked over for responses that nobody takes.
const LOOK_OVER: Duration = Duration::from_secs(1);

/// Which protocol a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1, as ALPN says or because nothing says otherwise.
    Http1,
    /// HTTP/2, as ALPN says.
    Http2,
    /// Plain text in development: HTTP/1.1, or HTTP/2 with prior knowledge.
    Either,
}

/// What is known of a connection.
#[derive(Clone)]
pub struct Peer {
    /// The other end.
    pub address: SocketAddr,
    /// Whether it speaks TLS.
    pub scheme: Scheme,
    /// The pace of this connection.
    pub pace: Arc<Pace>,
}

/// How connections end when the process stops.
#[derive(Clone, Debug)]
pub struct Shutdown {
    /// No further requests: `Connection: close`, GOAWAY.
    pub drain: CancellationToken,
    /// Event streams end, cleanly.
    pub streams: CancellationToken,
    /// The grace is over.
    pub cut: CancellationToken,
}

/// What a connection needs of the server that accepted it.
#[derive(Clone)]
pub struct Context {
    /// Who answers.
    pub front: Arc<Front>,
    /// The pace that is expected.
    pub pace: PaceLimits,
    /// How connections end.
    pub shutdown: Shutdown,
    /// Who owns connections and their streams.
    pub connections: TaskTracker,
}

/// Serves one connection to its end.
pub async fn serve<S>(stream: S, address: SocketAddr, scheme: Scheme, protocol: Protocol, context: Context)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Context {
        front,
        pace,
        shutdown,
        connections,
    } = context;
    let pace = Pace::new(pace, protocol == Protocol::Http2);
    let peer = Peer {
        address,
        scheme,
        pace: Arc::clone(&pace),
    };
    let service = service_fn(|request: Request<Incoming>| {
        let (front, peer) = (Arc::clone(&front), peer.clone());
        async move { Ok::<_, Infallible>(front.answer(request, peer).await) }
    });
    let builder = builder(protocol, connections);
    let stream = TokioIo::new(Paced::new(stream, Arc::clone(&pace)));
    let mut connection = std::pin::pin!(builder.serve_connection(stream, service));
    let mut look_over = tokio::time::interval(LOOK_OVER);
    let mut draining = false;
    loop {
        // In this order: a response that is written once the drain began says `Connection: close`.
        tokio::select! {
            biased;
            () = shutdown.cut.cancelled() => return,
            () = shutdown.drain.cancelled(), if !draining => {
                draining = true;
                connection.as_mut().graceful_shutdown();
            }
            result = connection.as_mut() => {
                if let Err(error) = result {
                    tracing::debug!(peer = %address, error = %error, "connection ended");
                }
                return;
            }
            _ = look_over.tick(), if protocol != Protocol::Http1 => {
                if pace.is_stalled() {
                    tracing::debug!(peer = %address, "connection closed: a response was not taken within WRITE_TIMEOUT");
                    return;
                }
            }
        }
    }
}

fn builder(protocol: Protocol, streams: TaskTracker) -> auto::Builder<Streams> {
    let mut builder = auto::Builder::new(Streams(streams));
    builder
        .http1()
        .timer(TokioTimer::new())
        // The pace has its own head timer; this one would also run between requests.
        .header_read_timeout(None)
        // The library's own bound of 100 headers holds; setting it would cost an allocation per head.
        .max_buf_size(MAX_HEAD_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(H2_STREAMS)
        .initial_stream_window_size(H2_STREAM_WINDOW)
        .initial_connection_window_size(H2_CONNECTION_WINDOW)
        .max_send_buf_size(H2_SEND_BUFFER)
        .max_header_list_size(MAX_HEAD_BYTES as u32)
        .max_pending_accept_reset_streams(H2_PENDING_RESETS)
        .max_local_error_reset_streams(H2_LOCAL_RESETS)
        .keep_alive_interval(H2_PING_EVERY)
        .keep_alive_timeout(H2_PING_WAIT);
    match protocol {
        Protocol::Http1 => builder.http1_only(),
        Protocol::Http2 => builder.http2_only(),
        Protocol::Either => builder,
    }
}
