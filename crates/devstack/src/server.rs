//! Accepting connections and speaking HTTP/1.1 on them.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// The most connections of one listener at a time; later ones wait in the backlog.
const MAX_CONNECTIONS: usize = 16_384;
/// How long a connection may be idle or take to send a request head.
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// Pause after a failed `accept`, which happens when file descriptors run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A response body of either server.
pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// The handler wants the connection closed without an answer.
#[derive(Debug, thiserror::Error)]
#[error("connection dropped on purpose")]
pub(crate) struct Dropped;

/// What a handler returns.
pub(crate) type Handled = Result<Response<Body>, Dropped>;

/// A body of known length.
pub(crate) fn full(body: impl Into<Bytes>) -> Body {
    Full::new(body.into())
        .map_err(|never: Infallible| match never {})
        .boxed_unsync()
}

/// An answer of known length.
pub(crate) fn answer(
    status: StatusCode,
    headers: impl IntoIterator<Item = (HeaderName, HeaderValue)>,
    body: Body,
) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    for (name, value) in headers {
        response.headers_mut().append(name, value);
    }
    response
}

/// The fields that HTTP permits.
pub(crate) fn fields<'a>(
    given: impl Iterator<Item = (&'a str, &'a str)>,
) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
    given.filter_map(|(name, value)| Some((name.parse().ok()?, value.parse().ok()?)))
}

/// Accepts until dropped; dropping closes every connection.
pub(crate) async fn accept<F, Fut>(listener: TcpListener, serve: F)
where
    F: Fn(TcpStream) -> Fut,
    Fut: Future<Output = ()> + Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                Ok((stream, _)) => {
                    let _ = stream.set_nodelay(true); // slower, not wrong, without it
                    connections.spawn(serve(stream));
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
            Some(_ended) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

/// Serves one connection until it ends, keep-alive included.
pub(crate) async fn serve<S, F, Fut>(stream: S, handler: F)
where
    S: AsyncRead + AsyncWrite + Unpin,
    F: Fn(http::Request<Incoming>) -> Fut,
    Fut: Future<Output = Handled>,
{
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service_fn(handler));
    let _ = connection.await; // the peer sees how it ended, and nobody else needs to know
}
