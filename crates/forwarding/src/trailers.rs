//! Fields after the body. What may not stand in a head may not come in through the back either.
//!
//! Over HTTP/1.1 the library sends only trailers that the head's `Trailer` announced, and to a caller only when it sent
//! `TE: trailers`. The announcements are therefore written anew here, from the names that may pass.

use admission::fields::members;
use http::HeaderMap;
use http::header::{HeaderName, HeaderValue, TE, TRAILER};

use crate::reserved;

/// Which trailers of a request may reach the upstream.
#[derive(Debug, Clone)]
pub struct RequestTrailers {
    /// The header that the directive names, which a trailer must not overwrite.
    reserved_header: HeaderName,
}

impl RequestTrailers {
    pub(crate) fn new(reserved_header: HeaderName) -> Self {
        Self { reserved_header }
    }

    /// Removes what may not cross: names that [`crate::request_head`] removes, and fields that RFC 9110 §6.5.1 keeps out
    /// of trailers.
    pub fn filter(&self, trailers: &mut HeaderMap) {
        reserved::remove_where(trailers, |name| !self.may_cross(name));
    }

    pub(crate) fn may_cross(&self, name: &HeaderName) -> bool {
        !reserved::is_unfit_for_trailers(name) && !reserved::stays_with_caller(name, &self.reserved_header)
    }
}

/// Removes the trailers of a response that may not reach the caller: gateway-owned names, those that
/// [`crate::response_head`] removes, and fields that RFC 9110 §6.5.1 keeps out of trailers.
pub fn response_trailers(trailers: &mut HeaderMap) {
    reserved::remove_where(trailers, |name| !may_return(name));
}

pub(crate) fn may_return(name: &HeaderName) -> bool {
    !reserved::is_unfit_for_trailers(name) && !reserved::stays_with_upstream(name)
}

/// Whether a head says `TE: trailers`. As strict as the library that sends them: a promise that it would not keep would
/// let a body that was cut look whole.
pub(crate) fn are_wanted(headers: &HeaderMap) -> bool {
    headers
        .get_all(TE)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .any(|coding| coding.trim().eq_ignore_ascii_case("trailers"))
}

/// The value of a new `Trailer`: `own`, and those names of the old one that may pass. `None` when there are none.
pub(crate) fn announcement(
    headers: &HeaderMap,
    own: &[&HeaderName],
    may_pass: impl Fn(&HeaderName) -> bool,
) -> Option<HeaderValue> {
    let mut names = own
        .iter()
        .map(|name| name.as_str())
        .collect::<Vec<_>>()
        .join(", ");
    let announced = members(headers, &TRAILER).filter_map(|name| HeaderName::from_bytes(name).ok());
    for name in announced.filter(|name| !own.contains(&name) && may_pass(name)) {
        if !names.is_empty() {
            names.push_str(", ");
        }
        names.push_str(name.as_str());
    }
    if names.is_empty() {
        None
    } else {
        HeaderValue::try_from(names).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trailers(names: &[&str]) -> HeaderMap {
        names
            .iter()
            .map(|name| (name.parse().unwrap(), HeaderValue::from_static("1")))
            .collect()
    }

    fn left(headers: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    const ANYONES: [&str; 5] = [
        "grpc-status",
        "grpc-message",
        "x-checksum",
        "server-timing",
        "my_trailer",
    ];
    const NOBODYS: [&str; 15] = [
        "content-length",
        "Transfer_Encoding",
        "trailer",
        "te",
        "connection",
        "host",
        "content-type",
        "content-encoding",
        "cache-control",
        "set-cookie",
        "location",
        "authorization",
        "www-authenticate",
        "if-match",
        "x-caracal-revoked",
    ];

    #[test]
    fn trailers_of_grpc_pass_both_ways() {
        let mut headers = trailers(&ANYONES);
        response_trailers(&mut headers);
        RequestTrailers::new(http::header::AUTHORIZATION).filter(&mut headers);
        assert_eq!(headers.len(), ANYONES.len());
    }

    #[test]
    fn trailers_of_the_upstream_cannot_override() {
        let mut headers = trailers(&NOBODYS);
        headers.extend(trailers(&[
            "X-Request-Id",
            "X_Caracal_Token_Expires_In",
            "refresh",
            "server",
            "grpc-status",
        ]));
        response_trailers(&mut headers);
        assert_eq!(left(&headers), ["grpc-status"]);
    }

    #[test]
    fn trailers_of_the_caller_cannot_override() {
        let mut headers = trailers(&NOBODYS);
        headers.extend(trailers(&[
            "x_forwarded_for",
            "X-Request-Id",
            "X-Api-Key",
            "x_api_key",
            "cookie",
            "checksum",
        ]));
        RequestTrailers::new(HeaderName::from_static("x-api-key")).filter(&mut headers);
        assert_eq!(left(&headers), ["checksum"]);
    }

    #[test]
    fn trailers_filter_twice_is_once() {
        let mut headers = trailers(&NOBODYS);
        headers.extend(trailers(&ANYONES));
        response_trailers(&mut headers);
        let once = headers.clone();
        response_trailers(&mut headers);
        assert_eq!(headers, once);
    }

    #[test]
    fn trailers_are_wanted_only_by_the_exact_coding() {
        for (lines, expect) in [
            (&["trailers"][..], true),
            (&["gzip, Trailers"], true),
            (&["gzip", "trailers"], true),
            (&["trailers;q=0"], false),
            (&["xtrailers"], false),
            (&[], false),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(TE, HeaderValue::from_static(line));
            }
            assert_eq!(are_wanted(&headers), expect, "{lines:?}");
        }
    }

    #[test]
    fn trailers_are_announced_by_allowed_names_only() {
        let mut headers = HeaderMap::new();
        headers.append(
            TRAILER,
            HeaderValue::from_static("Grpc-Status, Content-Length,, b@d"),
        );
        headers.append(TRAILER, HeaderValue::from_static("X-Caracal-Revoked, x-checksum"));
        let own = [&admission::names::X_CARACAL_REVOKED, &crate::grpc::GRPC_STATUS];
        assert_eq!(
            announcement(&headers, &own, may_return).unwrap(),
            "x-caracal-revoked, grpc-status, x-checksum",
            "each once"
        );
        assert_eq!(
            announcement(&headers, &[], may_return).unwrap(),
            "grpc-status, x-checksum"
        );
        assert_eq!(announcement(&HeaderMap::new(), &[], may_return), None);
    }
}
