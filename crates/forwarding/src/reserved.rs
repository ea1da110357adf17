//! Which fields never cross, in any spelling that could be taken for them.

use admission::names::{folded, is_gateway_stated, is_hop_by_hop, is_same};
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, HeaderName};

pub(crate) static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(crate) static X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
pub(crate) static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
pub(crate) static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub(crate) static TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
pub(crate) static BAGGAGE: HeaderName = HeaderName::from_static("baggage");

/// Whether a request header of the caller stays behind. `reserved_header` is the one that the directive names.
pub(crate) fn stays_with_caller(name: &HeaderName, reserved_header: &HeaderName) -> bool {
    let stays = folded(name, |folded| {
        is_hop_by_hop(folded)
            || is_gateway_stated(folded)
            // `Proxy` becomes the variable `HTTP_PROXY` (CVE-2016-5385).
            || matches!(folded, b"authorization" | b"expect" | b"host" | b"proxy")
            || folded.starts_with(b"proxy-")
            // Not the real field, which is kept, but one that is read as it.
            || (folded == b"content-length" && name != CONTENT_LENGTH)
    });
    stays || is_same(name, reserved_header)
}

/// Whether a response header of the upstream stays behind.
pub(crate) fn stays_with_upstream(name: &HeaderName) -> bool {
    folded(name, |name| {
        is_hop_by_hop(name)
            || name == b"x-request-id"
            || name.starts_with(b"x-caracal-")
            || name.starts_with(b"x-aspnet")
            // `Alt-Svc` would advertise another way to the origin the caller addressed, past the gateway (RFC 7838).
            || matches!(name, b"server" | b"x-powered-by" | b"refresh" | b"alt-svc")
    })
}

/// Fields that a trailer section may not hold (RFC 9110 §6.5.1): framing, routing, request modifiers, authentication,
/// response control and content format.
pub(crate) fn is_unfit_for_trailers(name: &HeaderName) -> bool {
    folded(name, |name| {
        is_hop_by_hop(name)
            || name.starts_with(b"if-")
            || name.starts_with(b"proxy-")
            || matches!(
                name,
                b"age"
                    | b"authentication-info"
                    | b"authorization"
                    | b"cache-control"
                    | b"content-encoding"
                    | b"content-length"
                    | b"content-location"
                    | b"content-range"
                    | b"content-type"
                    | b"cookie"
                    | b"date"
                    | b"expect"
                    | b"expires"
                    | b"host"
                    | b"location"
                    | b"max-forwards"
                    | b"pragma"
                    | b"range"
                    | b"retry-after"
                    | b"set-cookie"
                    | b"vary"
                    | b"www-authenticate"
            )
    })
}

/// Removes every field whose name fits, in one pass over the names.
pub(crate) fn remove_where(headers: &mut HeaderMap, fits: impl Fn(&HeaderName) -> bool) {
    let doomed: Vec<HeaderName> = headers.keys().filter(|name| fits(name)).cloned().collect();
    for name in doomed {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::AUTHORIZATION;

    #[test]
    fn the_real_content_length_crosses_and_its_alias_does_not() {
        let alias = HeaderName::from_static("content_length");
        assert!(!stays_with_caller(&CONTENT_LENGTH, &AUTHORIZATION));
        assert!(stays_with_caller(&alias, &AUTHORIZATION));
    }
}
