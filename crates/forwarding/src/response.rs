//! The upstream's head becomes the caller's.

use std::fmt;

use http::header::{HeaderValue, TRAILER};
use http::response::Parts;
use http::{Method, StatusCode, Version, request};

use crate::framing::{self, AmbiguousLength};
use crate::trailers;
use crate::upstream::Base;
use crate::{connection, location, reserved};

/// What the request settled about the form of its answer.
#[derive(Debug, Clone)]
pub struct WayBack {
    is_head: bool,
    takes_trailers: bool,
    hidden_parameter: Option<Box<str>>,
}

impl WayBack {
    pub(crate) fn of(head: &request::Parts, wants_trailers: bool) -> Self {
        Self {
            is_head: head.method == Method::HEAD,
            takes_trailers: wants_trailers && head.version > Version::HTTP_10,
            hidden_parameter: None,
        }
    }

    pub(crate) fn hide_parameter(&mut self, name: Option<Box<str>>) {
        self.hidden_parameter = name;
    }
}

/// What the gateway states on an answer.
#[derive(Debug, Clone, Copy)]
pub struct ResponseContext<'a> {
    /// The base that the request went to.
    pub base: &'a Base,
    /// What the request settled.
    pub way_back: &'a WayBack,
    /// The id under which this request is known everywhere.
    pub request_id: &'a HeaderValue,
    /// Whole seconds until the caller's mandate expires.
    pub token_expires_in: u64,
}

/// An answer that is ready to go to the caller. Its headers may hold cookies, so `Debug` shows none.
pub struct Inbound {
    /// The rewritten head.
    pub head: Parts,
    /// Whether trailers, `X-Caracal-Revoked` among them, can follow the body. When they cannot, an answer that is cut
    /// short must be broken off: ended cleanly it would look whole.
    pub carries_trailers: bool,
}

impl fmt::Debug for Inbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbound")
            .field("status", &self.head.status)
            .field("carries_trailers", &self.carries_trailers)
            .finish_non_exhaustive()
    }
}

/// Why an answer has no form in which it could reach the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ResponseError {
    /// A status of 1xx as the answer. Nobody asked the upstream to switch protocols.
    #[error("the upstream answered with an informational status")]
    Informational,
    /// `Content-Length` lines that disagree or are no number, or a transfer coding besides `chunked`.
    #[error("the upstream's framing is ambiguous")]
    AmbiguousLength,
}

impl From<AmbiguousLength> for ResponseError {
    fn from(_: AmbiguousLength) -> Self {
        Self::AmbiguousLength
    }
}

/// Turns the upstream's head into the caller's, in place.
///
/// # Errors
/// When the status is 1xx or the framing is ambiguous. The answer is then the upstream's fault.
pub fn response_head(mut head: Parts, context: &ResponseContext<'_>) -> Result<Inbound, ResponseError> {
    if head.status.is_informational() {
        return Err(ResponseError::Informational);
    }
    let headers = &mut head.headers;
    let has_length = framing::settle_length(headers)?;
    let way_back = context.way_back;
    let carries_trailers =
        way_back.takes_trailers && !way_back.is_head && !has_length && !is_bodiless(head.status);
    let announced = match carries_trailers {
        true => trailers::announcement(headers, Some(&reserved::X_CARACAL_REVOKED), trailers::may_return),
        false => None,
    };

    connection::remove_listed(headers);
    reserved::remove_where(headers, reserved::stays_with_upstream);
    location::rewrite(headers, context.base, way_back.hidden_parameter.as_deref());

    headers.insert(&reserved::X_REQUEST_ID, context.request_id.clone());
    headers.insert(
        &reserved::X_CARACAL_TOKEN_EXPIRES_IN,
        HeaderValue::from(context.token_expires_in),
    );
    if let Some(announced) = announced {
        headers.insert(TRAILER, announced);
    }
    // The version is that of the speaker (RFC 9110 §2.5); an old upstream must not make the gateway speak HTTP/1.0.
    head.version = Version::HTTP_11;
    Ok(Inbound {
        head,
        carries_trailers,
    })
}

/// RFC 9110 §6.4.1.
fn is_bodiless(status: StatusCode) -> bool {
    matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

#[cfg(test)]
mod tests;
