//! Names that only one side may state, in every spelling that could be taken for them.
//!
//! CGI, WSGI and PHP upstreams turn a header name into a variable by replacing `-`, and some of them every character
//! that is no letter or digit, with `_`. `X_Forwarded_For` and `X.Forwarded.For` are then the same variable as
//! `X-Forwarded-For`. All comparisons in this module therefore fold every such character to `-` first.

use http::HeaderMap;
use http::header::{CONTENT_LENGTH, HeaderName};

/// `X-Request-Id`: the id under which gateway, upstream, log and evidence know the request.
pub static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// `X-Caracal-Identity`: the caller's resource mandate beside a provider credential.
pub static X_CARACAL_IDENTITY: HeaderName = HeaderName::from_static("x-caracal-identity");
/// `X-Caracal-Token-Expires-In`: whole seconds until the caller's mandate expires.
pub static X_CARACAL_TOKEN_EXPIRES_IN: HeaderName = HeaderName::from_static("x-caracal-token-expires-in");
/// `X-Caracal-Revoked`: the trailer that ends an answer cut by a revocation.
pub static X_CARACAL_REVOKED: HeaderName = HeaderName::from_static("x-caracal-revoked");
pub(crate) static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(crate) static X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
pub(crate) static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
pub(crate) static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub(crate) static TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
pub(crate) static BAGGAGE: HeaderName = HeaderName::from_static("baggage");

/// Longer than any name and any prefix below, so that a name cut to this length cannot equal one of them.
const FOLD_WIDTH: usize = 40;

/// Whether only the gateway may state this name towards an upstream: `x-caracal-*`, `x-forwarded-*`, `forwarded`,
/// `x-real-ip`, `x-request-id`, in any spelling.
#[must_use]
pub fn is_reserved(name: &HeaderName) -> bool {
    folded(name, is_gateway_stated)
}

/// Whether two names are one and the same to an upstream that folds separators.
#[must_use]
pub fn is_same_name(a: &HeaderName, b: &HeaderName) -> bool {
    let (a, b) = (a.as_str(), b.as_str());
    a.len() == b.len() && a.bytes().zip(b.bytes()).all(|(a, b)| fold(a) == fold(b))
}

/// Whether a credential may be put into this header: not into one that frames, routes or is stated by the gateway.
pub(crate) fn may_carry_credential(name: &HeaderName) -> bool {
    !folded(name, |name| {
        is_hop_by_hop(name)
            || is_gateway_stated(name)
            || name.starts_with(b"proxy-")
            || matches!(
                name,
                b"baggage"
                    | b"content-encoding"
                    | b"content-length"
                    | b"content-type"
                    | b"expect"
                    | b"host"
                    | b"proxy"
                    | b"traceparent"
                    | b"tracestate"
                    | b"via"
            )
    })
}

/// Whether a request header of the caller stays behind. `credential` is the header that the upstream's credential
/// travels in, when it travels in one.
pub(crate) fn stays_with_caller(name: &HeaderName, credential: Option<&HeaderName>) -> bool {
    let stays = folded(name, |folded| {
        is_hop_by_hop(folded)
            || is_gateway_stated(folded)
            // `Proxy` becomes the variable `HTTP_PROXY` (CVE-2016-5385).
            || matches!(folded, b"authorization" | b"expect" | b"host" | b"proxy")
            || folded.starts_with(b"proxy-")
            // Not the real field, which is kept, but one that is read as it.
            || (folded == b"content-length" && name != CONTENT_LENGTH)
    });
    stays || credential.is_some_and(|credential| is_same_name(name, credential))
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

/// Fields that belong to one connection (RFC 9110 §7.6.1, RFC 7540 §3.2.1), whether or not `Connection` names them.
fn is_hop_by_hop(name: &[u8]) -> bool {
    matches!(
        name,
        b"connection"
            | b"http2-settings"
            | b"keep-alive"
            | b"proxy-authenticate"
            | b"proxy-authentication-info"
            | b"proxy-authorization"
            | b"proxy-connection"
            | b"te"
            | b"trailer"
            | b"transfer-encoding"
            | b"upgrade"
    )
}

fn is_gateway_stated(name: &[u8]) -> bool {
    name.starts_with(b"x-caracal-")
        || name.starts_with(b"x-forwarded-")
        || matches!(
            name,
            b"forwarded" | b"x-forwarded" | b"x-real-ip" | b"x-request-id"
        )
}

/// Reads a name with every separator folded to `-`. Names without an unusual character, nearly all, are not copied.
fn folded<R>(name: &HeaderName, read: impl FnOnce(&[u8]) -> R) -> R {
    let name = name.as_str().as_bytes();
    if name.iter().all(|&byte| fold(byte) == byte) {
        return read(name);
    }
    let mut buffer = [0; FOLD_WIDTH];
    let width = name.len().min(FOLD_WIDTH);
    for (slot, &byte) in buffer.iter_mut().zip(name) {
        *slot = fold(byte);
    }
    read(buffer.get(..width).unwrap_or_default())
}

fn fold(byte: u8) -> u8 {
    if byte.is_ascii_alphanumeric() { byte } else { b'-' }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(text: &str) -> HeaderName {
        HeaderName::from_bytes(text.as_bytes()).unwrap()
    }

    #[test]
    fn reserved_names_are_known_in_every_spelling() {
        for text in [
            "X-Caracal-Identity",
            "X_Caracal_Identity",
            "x-caracal_client-id",
            "X.Caracal.Resource",
            "X-Forwarded-For",
            "x_forwarded_for",
            "X-Forwarded_Prefix",
            "x_real_ip",
            "X-Real-IP",
            "Forwarded",
            "X_Request_Id",
            "X-Forwarded",
        ] {
            assert!(is_reserved(&name(text)), "{text}");
        }
    }

    #[test]
    fn ordinary_names_are_not_reserved() {
        for text in [
            "x-caracal",
            "x-forward-for",
            "my_header",
            "forwarded-by",
            "x-real-ipv6",
            "authorization",
        ] {
            assert!(!is_reserved(&name(text)), "{text}");
        }
    }

    #[test]
    fn the_real_content_length_crosses_and_its_alias_does_not() {
        assert!(!stays_with_caller(&CONTENT_LENGTH, None));
        assert!(stays_with_caller(&name("Content_Length"), None));
    }

    #[test]
    fn a_credential_may_not_take_a_framing_or_gateway_header() {
        for text in [
            "host",
            "te",
            "X-Caracal-Identity",
            "x_forwarded_for",
            "content-length",
            "proxy-x",
            "baggage",
        ] {
            assert!(!may_carry_credential(&name(text)), "{text}");
        }
        for text in ["authorization", "x-api-key", "cookie", "api_key"] {
            assert!(may_carry_credential(&name(text)), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_separator_spells_the_same_name(
            base in prop::sample::select(vec!["x-caracal-resource", "x-forwarded-for", "x-real-ip", "x-request-id"]),
            separators in prop::collection::vec(prop::sample::select(b"-_.!#$%&'*+^`|~".to_vec()), 3),
            tail in "[a-z]{0,80}",
        ) {
            let mut separators = separators.into_iter();
            let spelled: String =
                base.chars().map(|c| if c == '-' { separators.next().map_or('-', char::from) } else { c }).collect();
            prop_assert!(is_reserved(&name(&spelled)));
            prop_assert!(is_same_name(&name(&spelled), &name(base)));
            if base.starts_with("x-caracal-") || base.starts_with("x-forwarded-") {
                prop_assert!(is_reserved(&name(&format!("{spelled}{tail}"))), "a long tail hides nothing");
            }
        }
    }
}
