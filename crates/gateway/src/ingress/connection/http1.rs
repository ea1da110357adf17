//! HTTP/1 connections: what the library serves, and live streams that are written without it.
//!
//! The library keeps more than 16 KiB for as long as it serves a connection, and a stream of events may go on for
//! hours. So where nothing but its events is left to be written, the library writes the head and is given up, and
//! takes the connection up again behind the last chunk. It is given up between requests too, when none comes for a while.

use std::convert::Infallible;
use std::error::Error;
use std::future::{Pending, pending, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, TE, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::io::{AsyncWrite as _, AsyncWriteExt as _};

use super::switched::{Switch, Switched, serve_connection};
use super::timed_io::TimedIo;
use super::timer::ConnectionTimer;
use super::transport::Transport;
use super::{Shutdown, run};

/// The most bytes that the library reads at a time, and keeps of what its caller does not take. Pieces of 16 KiB cost a
/// third more CPU; larger ones bring no more.
const MAX_PIECE: usize = 64 * 1024;
/// Said to a head that is longer than it may be.
const HEAD_TOO_LARGE: &[u8] =
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

const CLOSE: HeaderValue = HeaderValue::from_static("close");

type BoxError = Box<dyn Error + Send + Sync>;

/// A response body that may be a live stream.
pub trait LiveBody {
    /// Whether it has no known length, may go on for hours, and needs nothing more of its request.
    fn is_live(&self) -> bool;

    /// What is to be carried in its place, where the answer switches the protocol.
    fn take_switched(&mut self) -> Option<Box<dyn Switched>> {
        None
    }
}

/// What the library is given of a body.
pub(super) enum LibraryBody<B> {
    /// All of it.
    Whole(B),
    /// One that is not there, and its length: the library leaves out the length of what it takes for empty, and asks no
    /// body of this status for a byte.
    Unsent(B, u64),
    /// Nothing, for ever.
    Elsewhere,
}

/// What is to be written without the library.
pub(super) struct Parked<B>(Arc<Mutex<Option<Aside<B>>>>);

/// What there is to do without the library.
enum Aside<B> {
    /// A body behind the head that the library writes.
    Live(Live<B>),
    /// All of an answer.
    Switch(Switch),
    /// Nothing, until the next request begins.
    Rest,
}

struct Live<B> {
    body: B,
    /// The connection is good for another request behind it.
    is_kept: bool,
}

/// Whether the response to a request could be written without the library, and what follows it then.
pub(super) struct Eligible {
    is_kept: bool,
}

impl Eligible {
    /// For requests whose responses are sent in chunks and end without trailers (RFC 9110 §6.5.1). Not behind an upload in
    /// chunks: where it also stated a length only the library knows, which took that away and will end the connection
    /// (RFC 9112 §6.3).
    pub(super) fn of<B>(request: &Request<B>) -> Option<Self> {
        let headers = request.headers();
        let is_chunked = request.version() == Version::HTTP_11 && request.method() != Method::HEAD;
        let is_kept = is_kept(headers)?;
        let has_more = headers.contains_key(TE) || headers.contains_key(TRANSFER_ENCODING);
        (is_chunked && !has_more).then_some(Self { is_kept })
    }
}

/// Has the connection end with this answer, which says so. One that switches protocols is its last anyway.
pub(super) fn end_with<B>(response: &mut Response<B>, version: Version, eligible: &mut Option<Eligible>) {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return;
    }
    response.headers_mut().insert(CONNECTION, CLOSE);
    if version <= Version::HTTP_10 {
        // The library would say `keep-alive` beside it.
        *response.version_mut() = Version::HTTP_10;
    }
    if let Some(eligible) = eligible {
        eligible.is_kept = false;
    }
}

/// Whether the caller wants to keep its connection (RFC 9112 §9.3); `None` if it says anything else of it.
fn is_kept(headers: &HeaderMap) -> Option<bool> {
    let mut is_kept = true;
    for line in headers.get_all(CONNECTION) {
        for option in line.as_bytes().split(|&byte| byte == b',') {
            match option.trim_ascii() {
                option if option.eq_ignore_ascii_case(b"keep-alive") => {}
                option if option.eq_ignore_ascii_case(b"close") => is_kept = false,
                _ => return None,
            }
        }
    }
    Some(is_kept)
}

impl<B> Parked<B> {
    pub(super) fn new() -> Self {
        Self(Arc::default())
    }

    fn take(&self) -> Option<Aside<B>> {
        self.0.lock().take()
    }

    /// Keeps all of an answer that switches the protocol back from the library, which is given up in the same turn, or as
    /// soon as the answer before is written.
    pub(super) fn switch(&self, headers: &HeaderMap, carried: Box<dyn Switched>) -> Pending<()> {
        *self.0.lock() = Some(Aside::Switch(Switch::new(headers, carried)));
        pending()
    }
}

impl<B: LiveBody> Parked<B> {
    /// Keeps the body of a live stream back from the library.
    pub(super) fn keep(
        &self,
        response: Response<B>,
        eligible: Option<Eligible>,
        timer: &ConnectionTimer,
    ) -> Response<LibraryBody<B>> {
        let is_ok = response.status() == StatusCode::OK;
        let unsent = length_unsent(&response).filter(|_| timer.state().is_http1());
        response.map(|body| match eligible {
            Some(Eligible { is_kept }) if is_ok && body.is_live() => {
                // Only a flush from now on is one of its head.
                timer.writes();
                *self.0.lock() = Some(Aside::Live(Live { body, is_kept }));
                LibraryBody::Elsewhere
            }
            _ => match unsent {
                Some(length) => LibraryBody::Unsent(body, length),
                None => LibraryBody::Whole(body),
            },
        })
    }
}

/// The length that an answer states of what it does not send, where the library would leave it out: 304 tells of the
/// answer that was asked for (RFC 9110 §8.6).
fn length_unsent<B>(response: &Response<B>) -> Option<u64> {
    let is_unsent = response.status() == StatusCode::NOT_MODIFIED;
    let length = is_unsent.then(|| response.headers().get(CONTENT_LENGTH))??;
    length.to_str().ok()?.parse().ok()
}

impl<B> Clone for Parked<B> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<B: Body + Unpin> Body for LibraryBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        match self.get_mut() {
            Self::Whole(body) | Self::Unsent(body, _) => Pin::new(body).poll_frame(cx),
            // The connection is taken from the library in the same turn.
            Self::Elsewhere => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_end_stream(),
            Self::Unsent(..) | Self::Elsewhere => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::Unsent(_, length) => SizeHint::with_exact(*length),
            Self::Elsewhere => SizeHint::default(),
        }
    }
}

/// Serves a connection to its end.
///
/// # Errors
/// Why it ended early.
pub(super) async fn serve<S, V, B>(
    stream: Box<TimedIo<S>>,
    service: V,
    parked: Parked<B>,
    shutdown: &Shutdown,
    timer: &ConnectionTimer,
) -> Result<(), BoxError>
where
    S: Transport + Send + 'static,
    V: Service<Request<Incoming>, Response = Response<LibraryBody<B>>, Error = Infallible> + Unpin,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin + 'static,
{
    let (mut stream, mut service) = (stream, service);
    loop {
        if !begins(&mut stream, shutdown).await? {
            return Ok(());
        }
        // Boxed, and given up while a live stream is written or nothing is to be done.
        let mut library = Box::new(builder().serve_connection(TokioIo::new(stream), service));
        // A head that was flushed has nothing behind it in the library.
        let interrupted = || {
            let is_flushed = timer.is_flushed();
            let rest = || timer.rests().then_some(Aside::Rest);
            is_flushed.then(|| parked.take().or_else(rest)).flatten()
        };
        let drain: fn(Pin<&mut _>) = http1::Connection::graceful_shutdown;
        let told = (&shutdown.idle, drain);
        let ended = run(Pin::new(&mut *library), told, interrupted).await;
        let parts = library.into_parts();
        stream = parts.io.into_inner();
        let aside = match ended {
            // Where the library found more wrong with it, that has been said.
            Err(error) if stream.is_head_too_large() && is_incomplete(&error) => {
                refuse_head(&mut stream).await?;
                None
            }
            ended => ended?,
        };
        // Also an empty rest would keep the library's buffer.
        let is_followed = !parts.read_buf.is_empty();
        drop(parts.read_buf);
        let is_over = match aside {
            None => true,
            Some(Aside::Live(live)) => finish(&mut stream, live, is_followed, shutdown).await?,
            // Boxed, because few connections need it and all would hold its place.
            Some(Aside::Switch(switch)) => {
                Box::pin(serve_connection(&mut stream, is_followed, switch)).await?;
                true
            }
            Some(Aside::Rest) => false,
        };
        if is_over {
            return Ok(());
        }
        service = parts.service;
    }
}

/// Waits for the next request. Where none comes any more the connection is ended.
async fn begins<S: Transport>(stream: &mut TimedIo<S>, shutdown: &Shutdown) -> Result<bool, BoxError> {
    // In this order: a request that has arrived is served.
    let has_begun = tokio::select! {
        biased;
        begun = stream.begins() => begun?,
        () = shutdown.idle.cancelled() => false,
    };
    if !has_begun {
        stream.shutdown().await?;
    }
    Ok(has_begun)
}

/// Whether the library was kept waiting for the end of a head.
fn is_incomplete(error: &BoxError) -> bool {
    let error = error.downcast_ref::<hyper::Error>();
    error.is_some_and(hyper::Error::is_incomplete_message)
}

/// Says that a head is too large, and reads on for a moment, so that the caller hears it (RFC 9112 §9.6).
async fn refuse_head<S: Transport>(stream: &mut TimedIo<S>) -> Result<(), BoxError> {
    stream.write_all(HEAD_TOO_LARGE).await?;
    stream.flush().await?;
    Ok(stream.shutdown().await?)
}

/// Writes a live stream to its end. Whether the connection ends with it.
async fn finish<S, B>(
    stream: &mut TimedIo<S>,
    live: Live<B>,
    is_followed: bool,
    shutdown: &Shutdown,
) -> Result<bool, BoxError>
where
    S: Transport,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    write(stream, live.body).await?;
    let is_over = !live.is_kept || shutdown.idle.is_cancelled() || is_followed;
    if is_over {
        stream.shutdown().await?;
    }
    Ok(is_over)
}

/// Writes a body in chunks (RFC 9112 §7.1).
async fn write<S, B>(mut stream: &mut TimedIo<S>, mut body: B) -> Result<(), BoxError>
where
    S: Transport,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    while let Some(frame) = poll_fn(|cx| match Pin::new(&mut body).poll_frame(cx) {
        // Nothing is there to be flushed, but so the stream learns that its caller left.
        Poll::Pending => match Pin::new(&mut stream).poll_flush(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(BoxError::from(error))),
            _ => Poll::Pending,
        },
        Poll::Ready(frame) => Poll::Ready(frame.transpose().map_err(Into::into)),
    })
    .await?
    {
        // Nobody wants trailers.
        let Ok(data) = frame.into_data() else { continue };
        if !data.is_empty() {
            let size = format!("{:x}\r\n", data.len());
            stream
                .write_all(&[size.as_bytes(), &data, b"\r\n"].concat())
                .await?;
            stream.flush().await?;
        }
    }
    // The request is over with its response, whether or not its end is taken.
    drop(body);
    stream.write_all(b"0\r\n\r\n").await?;
    Ok(stream.flush().await?)
}

fn builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        // The connection has its own head timer; this one would also run between requests.
        .header_read_timeout(None)
        // The end of the caller's sending side is not its leaving (RFC 9112 §9.6).
        .half_close(true)
        // The library's own bound of 100 headers holds; setting it would cost an allocation per head.
        .max_buf_size(MAX_PIECE);
    builder
}

#[cfg(test)]
mod tests;
