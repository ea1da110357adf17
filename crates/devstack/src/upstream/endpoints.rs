//! The upstream's answers, by path.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION, TRAILER};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Incoming;
use tokio::io::{AsyncRead, AsyncWrite};

use super::echo;
use super::heads::{HeadTap, Heads};
use super::state::Upstream;
use crate::form::Form;
use crate::server::{self, Body, Handled, full};

/// Filler for bodies of a given length.
static FILLER: [u8; 16 * 1024] = [b'x'; 16 * 1024];
/// The longest pause a query may ask for.
const MAX_PAUSE_MILLISECONDS: u64 = 10 * 60 * 1000;
/// The trailer of `/trailers`.
const SUM: HeaderName = HeaderName::from_static("x-sum");

impl Upstream {
    /// Serves one connection over any stream, for instance one that TLS was taken off.
    pub async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(self, stream: S) {
        let heads = Heads::default();
        let (reader, writer) = tokio::io::split(stream);
        let tapped = tokio::io::join(HeadTap::new(reader, heads.clone()), writer);
        server::serve(tapped, |request| handle(self.clone(), heads.take(), request)).await;
    }
}

/// Records the request and answers it.
async fn handle(upstream: Upstream, head: Bytes, request: Request<Incoming>) -> Handled {
    let in_flight = InFlight::enter(&upstream);
    let number = upstream.records().add(&head);
    let (parts, body) = request.into_parts();
    let path = parts.uri.path();
    let response = match path {
        "/early" => Ok(text(StatusCode::OK, "early")),
        "/hang" => std::future::pending().await,
        "/mirror" => Ok(ok([], body.map_err(io::Error::other).boxed_unsync())),
        _ => {
            let seen = echo::read(body).await?;
            upstream.records().add_body(number, &seen);
            match Form::parse(parts.uri.query().unwrap_or_default().as_bytes()) {
                _ if !is_special(path) => echo::show(&head, &seen).map(json),
                Ok(query) => Ok(special(path, &query).await),
                Err(_) => Ok(text(StatusCode::BAD_REQUEST, "malformed query")),
            }
        }
    };
    // The closure, and with it the count, lives until the body is sent or given up.
    let hold = move |error| {
        let _held = &in_flight;
        error
    };
    response.map(|response| response.map(|body| body.map_err(hold).boxed_unsync()))
}

fn is_special(path: &str) -> bool {
    const PATHS: [&str; 8] = [
        "/sse",
        "/slow",
        "/chunked",
        "/bytes",
        "/trailers",
        "/redirect",
        "/close",
        "/headers",
    ];
    PATHS.contains(&path) || path.starts_with("/status/")
}

async fn special(path: &str, query: &Form<'_>) -> Response<Body> {
    match path {
        "/sse" => {
            let body = events(number(query, "n"), pause(query));
            let kind = HeaderValue::from_static("text/event-stream");
            ok([(CONTENT_TYPE, kind)], body)
        }
        "/slow" => {
            tokio::time::sleep(pause(query)).await;
            text(StatusCode::OK, "slow")
        }
        "/chunked" => {
            let chunk = filler(number(query, "size").unwrap_or(16));
            let frame = move |_| Ok(Frame::data(chunk.clone()));
            ok([], streamed(number(query, "n").unwrap_or(10), frame))
        }
        "/bytes" => bytes(number(query, "n").unwrap_or(256)),
        "/trailers" => {
            let body = streamed(2, |at| {
                Ok(if at == 0 {
                    Frame::data(Bytes::from_static(b"trailers follow"))
                } else {
                    Frame::trailers(HeaderMap::from_iter([(SUM, HeaderValue::from_static("15"))]))
                })
            });
            ok([(TRAILER, HeaderValue::from_static("x-sum"))], body)
        }
        "/redirect" => match HeaderValue::from_str(query.get("to").unwrap_or("/")) {
            Ok(to) => server::answer(StatusCode::FOUND, [(LOCATION, to)], full("")),
            Err(_) => text(StatusCode::BAD_REQUEST, "malformed location"),
        },
        "/close" => close(number(query, "n").unwrap_or(1000)),
        "/headers" => ok(server::fields(query.fields()), full("headers")),
        _ => {
            let code = path.strip_prefix("/status/").and_then(|code| code.parse().ok());
            match code
                .filter(|code| *code >= 200)
                .and_then(|code| StatusCode::from_u16(code).ok())
            {
                Some(status) => text(status, "status"),
                None => text(StatusCode::BAD_REQUEST, "malformed status"),
            }
        }
    }
}

fn number(query: &Form<'_>, name: &str) -> Option<u64> {
    query.get(name)?.parse().ok()
}

/// The pause that `ms` asks for; one second where it asks for none.
fn pause(query: &Form<'_>) -> Duration {
    Duration::from_millis(number(query, "ms").unwrap_or(1000).min(MAX_PAUSE_MILLISECONDS))
}

fn ok(headers: impl IntoIterator<Item = (HeaderName, HeaderValue)>, body: Body) -> Response<Body> {
    server::answer(StatusCode::OK, headers, body)
}

fn text(status: StatusCode, text: &'static str) -> Response<Body> {
    let kind = HeaderValue::from_static("text/plain");
    server::answer(status, [(CONTENT_TYPE, kind)], full(text))
}

fn json(body: Vec<u8>) -> Response<Body> {
    let kind = HeaderValue::from_static("application/json");
    ok([(CONTENT_TYPE, kind)], full(body))
}

/// At most one filler block.
fn filler(length: u64) -> Bytes {
    let length = usize::try_from(length).unwrap_or(usize::MAX).min(FILLER.len());
    Bytes::from_static(&FILLER).split_to(length)
}

/// `n` frames, made one after the other.
fn streamed(n: u64, frame: impl Fn(u64) -> io::Result<Frame<Bytes>> + Send + 'static) -> Body {
    StreamBody::new(stream::iter((0..n).map(frame))).boxed_unsync()
}

/// `length` bytes with a declared length.
fn bytes(length: u64) -> Response<Body> {
    if length <= FILLER.len() as u64 {
        return ok([], full(filler(length)));
    }
    let block = FILLER.len() as u64;
    let body = streamed(length.div_ceil(block), move |at| {
        Ok(Frame::data(filler(length - at * block)))
    });
    ok([(CONTENT_LENGTH, HeaderValue::from(length))], body)
}

/// Declares `length` bytes, sends half of them and breaks off.
fn close(length: u64) -> Response<Body> {
    let body = StreamBody::new(stream::unfold(0, move |at| async move {
        if at == 0 {
            return Some((Ok(Frame::data(filler(length / 2))), 1));
        }
        // The library flushes what it has when the body pauses, and drops it on an error.
        tokio::task::yield_now().await;
        (at == 1).then(|| (Err(io::Error::other("broken off on purpose")), 2))
    }));
    ok([(CONTENT_LENGTH, HeaderValue::from(length))], body.boxed_unsync())
}

/// Numbered events, the first at once, then one after each pause.
fn events(n: Option<u64>, pause: Duration) -> Body {
    StreamBody::new(stream::unfold(0, move |at: u64| async move {
        if n.is_some_and(|n| at >= n) {
            return None;
        }
        if at > 0 {
            tokio::time::sleep(pause).await;
        }
        let event = format!("id: {at}\ndata: event {at}\n\n");
        Some((Ok(Frame::data(Bytes::from(event))), at + 1))
    }))
    .boxed_unsync()
}

/// Counts a request in, and out when it is dropped.
struct InFlight(Upstream);

impl InFlight {
    fn enter(upstream: &Upstream) -> Self {
        upstream.0.counts.send_modify(|counts| {
            counts.requests += 1;
            counts.in_flight += 1;
        });
        Self(upstream.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0
            .0
            .counts
            .send_modify(|counts| counts.in_flight = counts.in_flight.saturating_sub(1));
    }
}
