//! One inbound connection: HTTP/1.1 or HTTP/2 over a timed stream.

mod early_hints;
mod head;
mod head_end;
mod http1;
mod in_flight;
mod request_line;
mod state;
mod streams;
mod switched;
mod timed_io;
mod timer;
mod transport;

use std::convert::Infallible;
use std::error::Error;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use admission::Scheme;
use bytes::Bytes;
use http::{Request, Response, Version};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use early_hints::EarlyHints;
pub use http1::LiveBody;
use http1::{Eligible, Parked};
pub use in_flight::InFlight;
pub use state::Ending;
use state::Event;
use streams::StreamExecutor;
pub use switched::{Closing, Duplex, Switched};
use timed_io::TimedIo;
use timer::ConnectionTimer;
pub use timer::TimeLimits;
pub use transport::Transport;

use crate::clock;

/// The most bytes of an HTTP/2 header list that the library takes. What it takes above
/// [`super::target::MAX_HEADER_LIST_BYTES`] is refused on its stream; above this the connection may end.
const MAX_H2_HEADER_LIST: u32 = 64 * 1024;
const MAX_H2_STREAMS: u32 = 100;
const H2_STREAM_WINDOW: u32 = 64 * 1024;
const H2_CONNECTION_WINDOW: u32 = 1024 * 1024;
/// The most bytes of a response that wait in the library for a caller that does not take them.
const MAX_H2_SEND_BUFFER: usize = 64 * 1024;
/// Bounds on streams that were reset before anything was done for them (CVE-2023-44487, CVE-2025-8671).
const MAX_H2_PENDING_RESETS: usize = 20;
const MAX_H2_LOCAL_RESETS: usize = 128;
const H2_PING_INTERVAL: Duration = Duration::from_secs(30);
const H2_PING_TIMEOUT: Duration = Duration::from_secs(20);
/// How long words that tell of a revocation may wait behind what the caller is taking.
const LAST_WORDS_TIMEOUT: Duration = Duration::from_millis(20);

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
#[derive(Clone, Debug)]
pub struct Peer {
    /// The other end.
    pub address: SocketAddr,
    /// Whether it speaks TLS.
    pub scheme: Scheme,
    /// The subject of the certificate that it showed.
    pub certificate: Option<Arc<str>>,
}

/// How connections end when the process stops.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    /// Callers are told to use other connections: `Connection: close` in the next answer, GOAWAY.
    pub drain: CancellationToken,
    /// HTTP/1 connections without a request end: their callers may not have been told, and had their time.
    pub idle: CancellationToken,
    /// Event streams end, cleanly.
    pub streams: CancellationToken,
    /// The grace is over.
    pub cut: CancellationToken,
}

/// Who answers requests.
pub trait Handler: Send + Sync + 'static {
    /// The body of its answers.
    type Body: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>>
        + LiveBody
        + Unpin
        + Send
        + 'static;

    /// Answers one request.
    fn answer(
        &self,
        request: Request<Incoming>,
        peer: Peer,
        in_flight: InFlight,
    ) -> impl Future<Output = Response<Self::Body>> + Send;

    /// Whether HTTP/2 callers may switch the protocol of a stream (RFC 8441 §3).
    fn takes_extended_connect(&self) -> bool {
        false
    }
}

/// What every connection of a listener needs.
pub struct ConnectionContext<H> {
    /// Who answers.
    pub handler: Arc<H>,
    /// The time limits.
    pub limits: TimeLimits,
    /// How connections end.
    pub shutdown: Shutdown,
    /// Who owns connections and their streams.
    pub connections: TaskTracker,
}

impl<H> Clone for ConnectionContext<H> {
    fn clone(&self) -> Self {
        Self {
            handler: Arc::clone(&self.handler),
            limits: self.limits,
            shutdown: self.shutdown.clone(),
            connections: self.connections.clone(),
        }
    }
}

/// Serves one connection to its end.
pub async fn serve<S, H>(stream: S, peer: Peer, protocol: Protocol, context: ConnectionContext<H>)
where
    S: Transport + Send + 'static,
    H: Handler,
{
    let ConnectionContext {
        handler,
        limits,
        shutdown,
        connections: tasks,
    } = context;
    let timer = ConnectionTimer::new(limits);
    // Boxed, because it is handed on, and the task would hold its place each time.
    let mut stream = Box::new(TimedIo::new(stream, Arc::clone(&timer)));
    let is_http2 = tokio::select! {
        () = shutdown.idle.cancelled(), if protocol == Protocol::Either => return,
        is_http2 = speaks_http2(protocol, &mut stream, &timer) => is_http2,
    };
    let opened = Arc::default();
    let executor = StreamExecutor {
        tasks,
        opened: Arc::clone(&opened),
        cut: shutdown.cut.clone(),
    };
    let parked = Parked::new();
    // The token's own clones share a lock with those of all connections.
    let drain = Arc::new(shutdown.drain.clone());
    let service = service_fn(|mut request: Request<Incoming>| {
        let (mut eligible, parked, drain) = (Eligible::of(&request), parked.clone(), Arc::clone(&drain));
        let (handler, timer, peer) = (Arc::clone(&handler), Arc::clone(&timer), peer.clone());
        let (in_flight, version) = (InFlight::begin(&timer, &request), request.version());
        let upgrade = in_flight.is_multiplexed().then(|| {
            *opened.lock() = Some(in_flight.clone());
            hyper::upgrade::on(&mut request)
        });
        // Large, and done with once the answer begins, while the library keeps its place for the whole connection.
        Box::pin(async move {
            let mut response = handler.answer(request, peer, in_flight).await;
            timer.hints.close();
            if let Some(carried) = response.body_mut().take_switched() {
                match upgrade {
                    Some(upgrade) => streams::switch(upgrade, carried),
                    None => parked.switch(response.headers(), carried).await,
                }
            } else if drain.is_cancelled() && version < Version::HTTP_2 {
                http1::end_with(&mut response, version, &mut eligible);
            }
            Ok::<_, Infallible>(parked.keep(response, eligible, &timer))
        })
    });
    let serving = async {
        match is_http2 {
            Ok(true) => {
                let io = TokioIo::new(stream);
                let builder = http2_builder(executor, handler.takes_extended_connect());
                let mut connection = Box::pin(builder.serve_connection(io, service));
                let drain: fn(Pin<&mut _>) = http2::Connection::graceful_shutdown;
                let told = (&shutdown.drain, drain);
                let ended = run(connection.as_mut(), told, || None::<Infallible>).await;
                ended.map(|_nothing| ())
            }
            Ok(false) => http1::serve(stream, service, parked.clone(), &shutdown, &timer).await,
            Err(error) => Err(error.into()),
        }
    };
    // Dropped behind the reason of its end.
    let mut serving = pin!(serving);
    let ended = tokio::select! {
        biased;
        () = shutdown.cut.cancelled() => {
            timer.end(Ending::Stopped);
            return;
        }
        ended = &mut serving => ended,
    };
    if let Err(error) = ended {
        tracing::debug!(peer = %peer.address, error = %error, "connection ended");
    }
}

/// Whether a connection speaks HTTP/2, as was agreed on or as its first bytes say.
async fn speaks_http2<S: Transport>(
    protocol: Protocol,
    stream: &mut TimedIo<S>,
    timer: &ConnectionTimer,
) -> io::Result<bool> {
    match protocol {
        Protocol::Http1 => Ok(false),
        Protocol::Http2 => {
            timer.after(Event::Http2(clock::instant()));
            Ok(true)
        }
        Protocol::Either => stream.opens_http2().await,
    }
}

/// Runs a connection to its end, or until there is something to do without the library. `told` is when the library is to
/// take no further request, and how it is told so.
async fn run<C: Future<Output = hyper::Result<()>>, T>(
    mut connection: Pin<&mut C>,
    (when, drain): (&CancellationToken, fn(Pin<&mut C>)),
    interrupted: impl Fn() -> Option<T>,
) -> Result<Option<T>, Box<dyn Error + Send + Sync>> {
    let mut draining = false;
    loop {
        // In this order: a response that is written from then on says `Connection: close`.
        tokio::select! {
            biased;
            () = when.cancelled(), if !draining => {
                draining = true;
                drain(connection.as_mut());
            }
            result = poll_fn(|cx| match connection.as_mut().poll(cx) {
                Poll::Ready(result) => Poll::Ready(result.map(|()| None)),
                Poll::Pending => interrupted().map_or(Poll::Pending, |found| Poll::Ready(Ok(Some(found)))),
            }) => return Ok(result?),
        }
    }
}

fn http2_builder(streams: StreamExecutor, takes_extended_connect: bool) -> http2::Builder<StreamExecutor> {
    let mut builder = http2::Builder::new(streams);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_H2_STREAMS)
        .initial_stream_window_size(H2_STREAM_WINDOW)
        .initial_connection_window_size(H2_CONNECTION_WINDOW)
        .max_send_buf_size(MAX_H2_SEND_BUFFER)
        .max_header_list_size(MAX_H2_HEADER_LIST)
        .max_pending_accept_reset_streams(MAX_H2_PENDING_RESETS)
        .max_local_error_reset_streams(MAX_H2_LOCAL_RESETS)
        .keep_alive_interval(H2_PING_INTERVAL)
        .keep_alive_timeout(H2_PING_TIMEOUT);
    if takes_extended_connect {
        builder.enable_connect_protocol();
    }
    builder
}

#[cfg(test)]
mod tests;
