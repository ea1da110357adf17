//! The caller's head becomes the upstream's.

use std::net::IpAddr;
use std::sync::Arc;

use admission::binding::UpstreamUrl;
use admission::names::{X_CARACAL_IDENTITY, X_REQUEST_ID};
use admission::{Credential, Scheme};
use http::header::{COOKIE, Entry, HOST, HeaderValue, TE, TRAILER};
use http::request::Parts;
use http::{Extensions, HeaderMap, Uri, Version};

use crate::forwarded::{CallerSide, TrustedProxies};
use crate::framing;
use crate::response::ResponseRules;
use crate::rewrite_error::RewriteError;
use crate::trace::{self, FreshTrace};
use crate::trailers::{self, RequestTrailers};
use crate::{baggage, connection, reserved, target, upgrade};

/// What the gateway knows of a request besides its head.
#[derive(Debug, Clone, Copy)]
pub struct Crossing<'a> {
    /// The address at the other end of the caller's connection.
    pub peer: IpAddr,
    /// How the caller spoke to the gateway.
    pub scheme: Scheme,
    /// The id under which this request is known everywhere.
    pub request_id: &'a HeaderValue,
    /// Whose `X-Forwarded-*` headers are believed.
    pub trusted_proxies: &'a TrustedProxies,
    /// The trace to start when the caller brought no valid one.
    pub trace: FreshTrace,
    /// Nothing follows the head.
    pub is_bodiless: bool,
}

/// A head in its upstream form. It may hold a credential in its headers and in its target: it has no
/// `Debug`.
pub struct Rewritten {
    /// Origin-form target, `Host` set, HTTP/1.1, without extensions.
    pub head: Parts,
    /// Which trailers may follow the body.
    pub trailers: RequestTrailers,
    /// What the answer's head has to respect.
    pub rules: ResponseRules,
}

/// Turns the caller's head into the upstream's, in place.
///
/// What the caller said about its own connection, the gateway or the credential is removed first; what the gateway
/// states is set last, so that no header of the caller can remove or replace it.
///
/// # Errors
/// When the request has no path, its length is ambiguous, or the joined target is too long.
pub fn request_head(
    mut head: Parts,
    crossing: &Crossing<'_>,
    url: &Arc<UpstreamUrl>,
    credential: &Credential,
) -> Result<Rewritten, RewriteError> {
    let caller_target = head.uri.path_and_query().ok_or(RewriteError::Target)?;
    let target = target::join(url, caller_target, credential.query())?;
    let caller_side = CallerSide::read(&head, crossing.peer, crossing.scheme, crossing.trusted_proxies);
    let has_length = framing::settle_length(&mut head.headers)?
        || crossing.is_bodiless && framing::state_no_length(&head.method, &mut head.headers);
    let wants_trailers = trailers::are_wanted(&head.headers);
    let rules = ResponseRules::of(&head, url, credential, crossing.request_id, wants_trailers);
    let reserved_header = credential.reserved_header();
    let request_trailers = RequestTrailers::new(reserved_header.clone());
    let announced = match has_length {
        true => None,
        false => trailers::announcement(&head.headers, &[], |name| request_trailers.may_cross(name)),
    };

    let headers = &mut head.headers;
    connection::remove_listed(headers);
    reserved::remove_where(headers, |name| reserved::stays_with_caller(name, reserved_header));
    baggage::remove_own_members(headers);
    upgrade::remove_own_subprotocols(headers);
    join_cookies(headers);
    trace::settle(headers, crossing.trace);

    if let Some(identity) = credential.identity() {
        headers.insert(&X_CARACAL_IDENTITY, identity.clone());
    }
    if let Some(value) = credential.header_value() {
        headers.insert(reserved_header, value.clone());
    }
    caller_side.state(headers);
    headers.insert(&X_REQUEST_ID, crossing.request_id.clone());
    headers.insert(HOST, url.host_header());
    if wants_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    if let Some(announced) = announced {
        headers.insert(TRAILER, announced);
    }

    head.uri = Uri::from(target);
    head.version = Version::HTTP_11;
    // What the caller's connection left for itself means nothing to the upstream's.
    head.extensions = Extensions::new();
    Ok(Rewritten {
        head,
        trailers: request_trailers,
        rules,
    })
}

/// HTTP/2 callers may split cookies over lines, which HTTP/1.1 forbids (RFC 9113 §8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(COOKIE).iter().nth(1).is_none() {
        return;
    }
    if let Entry::Occupied(mut entry) = headers.entry(COOKIE) {
        let joined = entry
            .iter()
            .map(HeaderValue::as_bytes)
            .collect::<Vec<_>>()
            .join(&b"; "[..]);
        if let Ok(joined) = HeaderValue::from_maybe_shared(bytes::Bytes::from(joined)) {
            entry.insert(joined);
        }
    }
}

#[cfg(test)]
mod tests;
