//! The upstream's head becomes the caller's.

use std::fmt;
use std::sync::Arc;

use admission::Credential;
use admission::binding::UpstreamUrl;
use admission::names::{X_CARACAL_REVOKED, X_CARACAL_TOKEN_EXPIRES_IN, X_REQUEST_ID};
use http::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, TE, TRAILER, TRANSFER_ENCODING};
use http::response::Parts;
use http::{Method, StatusCode, Version, request};

use crate::framing;
use crate::grpc::{self, GRPC_MESSAGE, GRPC_STATUS, is_grpc};
use crate::response_error::ResponseError;
use crate::upgrade::{Handshake, Switched};
use crate::{connection, location, reserved, trailers};

/// What the request settled about the form of its answer.
#[derive(Debug, Clone)]
pub struct ResponseRules {
    url: Arc<UpstreamUrl>,
    request_id: HeaderValue,
    expires_at: i64,
    is_head: bool,
    is_grpc: bool,
    takes_trailers: bool,
    /// A trailer reaches the caller itself, and not only the next proxy.
    trailers_arrive: bool,
    hidden_parameter: Option<Box<str>>,
    /// The switch of protocols that it asks for.
    handshake: Option<Arc<Handshake>>,
}

impl ResponseRules {
    pub(crate) fn of(
        head: &request::Parts,
        url: &Arc<UpstreamUrl>,
        credential: &Credential,
        request_id: &HeaderValue,
        wants_trailers: bool,
    ) -> Self {
        let is_grpc = is_grpc(&head.headers);
        let takes_trailers = head.version > Version::HTTP_10 && wants_trailers;
        Self {
            url: Arc::clone(url),
            request_id: request_id.clone(),
            expires_at: i64::MAX,
            is_head: head.method == Method::HEAD,
            is_grpc,
            takes_trailers,
            trailers_arrive: match head.version {
                Version::HTTP_11 => takes_trailers && (is_grpc || connection::lists(&head.headers, &TE)),
                version => is_grpc && version > Version::HTTP_11,
            },
            hidden_parameter: credential.query().map(|key| key.name().into()),
            handshake: None,
        }
    }

    /// The mandate's expiry in Unix seconds.
    pub(crate) fn expiring_at(self, expires_at: i64) -> Self {
        Self { expires_at, ..self }
    }

    /// The request asks for this switch.
    pub(crate) fn switching(self, handshake: Handshake) -> Self {
        Self {
            handshake: Some(Arc::new(handshake)),
            ..self
        }
    }

    /// Whether the request asks for a switch of protocols, for which it needs a connection of its own.
    #[must_use]
    pub fn may_switch(&self) -> bool {
        self.handshake.is_some()
    }

    /// Whether the request is gRPC: a stream in both directions.
    #[must_use]
    pub fn is_grpc(&self) -> bool {
        self.is_grpc
    }
}

/// An answer that is ready to go to the caller. Its headers may hold cookies, so `Debug` shows none.
pub struct Inbound {
    /// The rewritten head.
    pub head: Parts,
    /// The trailers with which the answer can be ended early. Where there are none, it must be broken off: ended
    /// cleanly it would look whole, also behind a proxy that passes `TE` on and drops the trailer.
    pub early_end: Option<EarlyEnd>,
    /// What the connection is switched to behind the head.
    pub switched: Option<Switched>,
}

impl fmt::Debug for Inbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbound")
            .field("status", &self.head.status)
            .field("early_end", &self.early_end)
            .field("switched", &self.switched)
            .finish_non_exhaustive()
    }
}

/// An answer that can be ended early in words of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EarlyEnd {
    /// With the trailer `X-Caracal-Revoked`.
    Plain,
    /// With a gRPC status too.
    Grpc,
}

impl EarlyEnd {
    /// The trailers of an answer whose authority was revoked.
    #[must_use]
    pub fn revoked(self) -> HeaderMap {
        let mut trailers = HeaderMap::new();
        trailers.insert(&X_CARACAL_REVOKED, HeaderValue::from_static("true"));
        if self == Self::Grpc {
            grpc::state(&mut trailers, StatusCode::UNAUTHORIZED, "session revoked");
        }
        trailers
    }

    /// The trailers of a gRPC answer that ends as a request with this status and these words would.
    #[must_use]
    pub fn failed(self, status: StatusCode, words: &str) -> Option<HeaderMap> {
        match self {
            Self::Plain => None,
            Self::Grpc => {
                let mut trailers = HeaderMap::new();
                grpc::state(&mut trailers, status, words);
                Some(trailers)
            }
        }
    }

    /// The fields that it may need, to be announced.
    fn announces(self) -> &'static [&'static HeaderName] {
        static ALL: [&HeaderName; 3] = [&X_CARACAL_REVOKED, &GRPC_STATUS, &GRPC_MESSAGE];
        match self {
            Self::Plain => &ALL[..1],
            Self::Grpc => &ALL,
        }
    }
}

/// Turns the upstream's head into the caller's, in place. `now` is in Unix seconds.
///
/// # Errors
/// When the status is 1xx, and no switch that was asked for, or the framing is ambiguous. The answer is then the upstream's
/// fault.
pub fn response_head(mut head: Parts, rules: &ResponseRules, now: u64) -> Result<Inbound, ResponseError> {
    let handshake = rules.handshake.as_ref();
    let switched = handshake.map_or(Ok(None), |handshake| handshake.judge(&head))?;
    if head.status.is_informational() && switched.is_none() {
        return Err(ResponseError::Informational);
    }
    let headers = &mut head.headers;
    if switched.is_some() {
        // Whatever it says, there is no body (RFC 9110 §6.4.1, RFC 9112 §6.1).
        headers.remove(CONTENT_LENGTH);
        headers.remove(TRANSFER_ENCODING);
    }
    let has_length = framing::settle_length(headers)?;
    let has_trailers = !rules.is_head && !has_length && !is_bodiless(head.status);
    // Once a call has its status it gets no other; and what answers a call with another kind of message gives none.
    let ends_as_grpc = grpc::ends_with_trailers(headers) && !headers.contains_key(&GRPC_STATUS);
    let early_end = match rules.is_grpc {
        true => ends_as_grpc.then_some(EarlyEnd::Grpc),
        false => Some(EarlyEnd::Plain),
    }
    .filter(|_| has_trailers && rules.trailers_arrive);
    let announced = match has_trailers && rules.takes_trailers {
        true => {
            let own = early_end.map_or(&[][..], EarlyEnd::announces);
            trailers::announcement(headers, own, trailers::may_return)
        }
        false => None,
    };

    connection::remove_listed(headers);
    reserved::remove_where(headers, reserved::stays_with_upstream);
    location::rewrite(headers, &rules.url, rules.hidden_parameter.as_deref());

    headers.insert(&X_REQUEST_ID, rules.request_id.clone());
    let left = u64::try_from(rules.expires_at).map_or(0, |expiry| expiry.saturating_sub(now));
    headers.insert(&X_CARACAL_TOKEN_EXPIRES_IN, HeaderValue::from(left));
    if let Some(announced) = announced {
        headers.insert(TRAILER, announced);
    }
    // The version is that of the speaker (RFC 9110 §2.5); an old upstream must not make the gateway speak HTTP/1.0.
    head.version = Version::HTTP_11;
    if let Some(handshake) = handshake.filter(|_| switched.is_some()) {
        handshake.tell(&mut head);
    }
    Ok(Inbound {
        head,
        early_end,
        switched,
    })
}

/// The fields of an interim answer (103, RFC 8297) as they may reach the caller: those that would in the head of an answer.
#[must_use]
pub fn early_hints(headers: &HeaderMap, rules: &ResponseRules) -> HeaderMap {
    let mut headers = headers.clone();
    connection::remove_listed(&mut headers);
    reserved::remove_where(&mut headers, |name| {
        reserved::stays_with_upstream(name) || *name == CONTENT_LENGTH
    });
    location::rewrite(&mut headers, &rules.url, rules.hidden_parameter.as_deref());
    headers
}

/// RFC 9110 §6.4.1.
fn is_bodiless(status: StatusCode) -> bool {
    status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

#[cfg(test)]
mod tests;
