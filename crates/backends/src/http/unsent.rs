//! What is left of a request that got no answer, or none that can be used.

use std::io::{self, ErrorKind};

use admission::ports::Cause;
use http::request::Parts;
use http::{HeaderMap, Method, Request};
use hyper::body::Body;

use super::driver::{BUFFER_BYTES, MAX_FIELDS};
use super::failure::SendFailure;
use super::leaving::Leaving;

/// A request that got no response.
pub(super) enum Unsent<B> {
    /// It is back, and no byte of it was written.
    Whole(Box<Request<B>>, Cause),
    /// It was written, and its used connection ended without a byte of an answer, or its peer says that it did nothing for
    /// it. There was nothing in its body, which is back.
    Unanswered(B, Cause),
    /// It was taken apart.
    Gone(SendFailure),
}

impl<B> Unsent<B> {
    /// What it is where it is not sent again.
    pub(super) fn into_failure(self) -> SendFailure {
        match self {
            Self::Whole(_, cause) => SendFailure::NotSent(cause),
            Self::Unanswered(_, cause) => SendFailure::MaybeSent(cause),
            Self::Gone(failure) => failure,
        }
    }
}

/// The head of a request that may be sent twice: its method is safe (RFC 9110 §9.2.1) and it has no body.
pub(super) fn repeatable<B: Body>(request: &Request<B>, leaving: &impl Leaving) -> Option<Parts> {
    let is_safe = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    (is_safe && leaving.may_repeat() && request.body().is_end_stream()).then(|| {
        let (mut head, ()) = Request::new(()).into_parts();
        head.method.clone_from(request.method());
        head.uri.clone_from(request.uri());
        head.version = request.version();
        head.headers.clone_from(request.headers());
        head.extensions.clone_from(request.extensions());
        head
    })
}

/// Whether this is a connection that its peer closed or reset.
pub(super) fn is_end(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::BrokenPipe
            | ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::NotConnected
            | ErrorKind::UnexpectedEof
    )
}

/// Whether a head is larger than is taken. The libraries count in reads and frames, and so let some pass.
pub(super) fn is_too_large(headers: &HeaderMap) -> bool {
    let fields = headers.iter();
    let bytes: usize = fields
        .map(|(name, value)| name.as_str().len() + ": \r\n".len() + value.len())
        .sum();
    headers.len() > MAX_FIELDS || bytes > BUFFER_BYTES
}

pub(super) fn too_large<B>() -> Unsent<B> {
    let cause = Cause::new("request: the head of the response is too large");
    Unsent::Gone(SendFailure::Invalid(cause))
}
