//! What a request may be aimed at, and how it may be coded (RFC 9112 §3.2, §6.1, RFC 9113 §8.3.1).

use std::net::Ipv6Addr;

use admission::ports::Cause;
use admission::{Denial, Refused};
use http::header::{HOST, TRANSFER_ENCODING};
use http::request::Parts;
use http::{Method, Version};

/// The most fields of an HTTP/2 request head; over HTTP/1 the library has the same bound.
const MAX_FIELDS: usize = 100;
/// The most bytes of an HTTP/2 header list (RFC 9113 §6.5.2).
pub(super) const MAX_HEADER_LIST_BYTES: usize = 16 * 1024;

/// Refuses a target in which this was found: what it says otherwise is not what the caller sent.
///
/// # Errors
/// [`Denial::TargetFragment`], [`Denial::TargetCharacter`], and which character it is.
pub fn check_characters(found: Option<u8>) -> Result<(), Refused> {
    let Some(found) = found else { return Ok(()) };
    let denial = match found {
        b'#' => Denial::TargetFragment,
        _ => Denial::TargetCharacter,
    };
    let cause = Cause::new(format!("{:?} in the request target", char::from(found)));
    Err(Refused::because(denial, cause))
}

/// Refuses what no request to the gateway may look like: methods that are never proxied, targets
/// whose authority contradicts `Host`, and transfer codings that nobody here undoes: the upstream
/// would take the coded body for the body.
///
/// # Errors
/// [`Denial::MethodNotAllowed`], [`Denial::BadTarget`], [`Denial::AmbiguousHeaders`],
/// [`Denial::HeadTooLarge`].
pub fn check(head: &Parts) -> Result<(), Denial> {
    if matches!(head.method, Method::CONNECT | Method::TRACE) {
        return Err(Denial::MethodNotAllowed);
    }
    match head.uri.path() {
        "*" if head.method == Method::OPTIONS => return Err(Denial::MethodNotAllowed),
        path if path.starts_with('/') => {}
        _ => return Err(Denial::BadTarget),
    }
    let mut codings = head.headers.get_all(TRANSFER_ENCODING).iter().enumerate();
    if codings.any(|(at, coding)| at > 0 || !coding.as_bytes().eq_ignore_ascii_case(b"chunked")) {
        return Err(Denial::AmbiguousHeaders);
    }
    check_size(head)?;
    check_host(head)
}

/// Refuses a request to an operator's endpoint whose head is too large, or whose host is missing
/// (in HTTP/1.1), given twice, malformed or contradicted by the target.
///
/// # Errors
/// [`Denial::AmbiguousHeaders`], [`Denial::BadTarget`], [`Denial::HeadTooLarge`].
pub fn check_operator(head: &Parts) -> Result<(), Denial> {
    check_size(head)?;
    // On its way to an upstream, gate 1 refuses this with the other ambiguous heads.
    if head.headers.get_all(HOST).iter().nth(1).is_some() {
        return Err(Denial::AmbiguousHeaders);
    }
    check_host(head)
}

/// HTTP/2 compresses its fields, so the library is told to take more of them than are welcome: what
/// it refuses itself would end the connection.
fn check_size(head: &Parts) -> Result<(), Denial> {
    let fits = || head.headers.len() <= MAX_FIELDS && header_list_bytes(head) <= MAX_HEADER_LIST_BYTES;
    if head.version != Version::HTTP_2 || fits() {
        Ok(())
    } else {
        Err(Denial::HeadTooLarge)
    }
}

/// RFC 9113 §6.5.2, with the fields that begin with a colon.
fn header_list_bytes(head: &Parts) -> usize {
    let field = |name: &str, value: usize| name.len() + value + 32;
    let uri = &head.uri;
    field(":method", head.method.as_str().len())
        + field(":scheme", uri.scheme_str().unwrap_or_default().len())
        + field(
            ":path",
            uri.path_and_query().map_or(0, |path| path.as_str().len()),
        )
        + uri
            .authority()
            .map_or(0, |authority| field(":authority", authority.as_str().len()))
        + head
            .headers
            .iter()
            .map(|(name, value)| field(name.as_str(), value.len()))
            .sum::<usize>()
}

fn check_host(head: &Parts) -> Result<(), Denial> {
    let host = match head.headers.get(HOST).map(|host| host.to_str()) {
        None => None,
        Some(Ok(host)) => Some(host),
        Some(Err(_)) => return Err(Denial::BadTarget),
    };
    let authority = head.uri.authority().map(http::uri::Authority::as_str);
    let default_port = head
        .uri
        .scheme_str()
        .map(|scheme| if scheme == "https" { 443 } else { 80 });
    let fits = match (authority, host) {
        // RFC 9112 §3.2: HTTP/1.1 names its host in `Host`, whatever the target says.
        (_, None) if head.version == Version::HTTP_11 => false,
        (None, None) => true,
        (None, Some(host)) => host.is_empty() || host_and_port(host).is_some(),
        (Some(authority), None) => host_and_port(authority).is_some(),
        (Some(authority), Some(host)) => match (host_and_port(authority), host_and_port(host)) {
            (Some((authority, port)), Some((host, other))) => {
                authority.eq_ignore_ascii_case(host) && port.or(default_port) == other.or(default_port)
            }
            _ => false,
        },
    };
    if fits { Ok(()) } else { Err(Denial::BadTarget) }
}

/// `uri-host [":" port]` (RFC 9110 §7.2). User information is no part of it, and neither are the
/// delimiters that only a list or a parameter would need.
fn host_and_port(text: &str) -> Option<(&str, Option<u16>)> {
    let end = match text.starts_with('[') {
        true => text.find(']')? + 1,
        false => text.find(':').unwrap_or(text.len()),
    };
    let (host, port) = text.split_at(end);
    let is_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => {
            let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%".contains(&byte);
            !host.is_empty() && host.bytes().all(is_name)
        }
    };
    let port = match port.strip_prefix(':') {
        None | Some("") => None,
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => Some(digits.parse().ok()?),
        Some(_) => return None,
    };
    (is_host && (end == text.len() || text[end..].starts_with(':'))).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(method: &str, uri: &str, host: Option<&str>) -> Result<(), Denial> {
        let mut request = http::Request::builder().method(method).uri(uri);
        if let Some(host) = host {
            request = request.header(HOST, host);
        }
        super::check(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn target_methods_that_tunnel_or_reflect_are_refused() {
        for (method, uri) in [
            ("CONNECT", "host:22"),
            ("CONNECT", "/x"),
            ("TRACE", "/x"),
            ("OPTIONS", "*"),
        ] {
            assert_eq!(
                check(method, uri, Some("gw")),
                Err(Denial::MethodNotAllowed),
                "{method} {uri}"
            );
        }
        assert_eq!(check("GET", "*", Some("gw")), Err(Denial::BadTarget));
        for method in ["GET", "POST", "OPTIONS", "PROPFIND", "DELETE"] {
            assert_eq!(check(method, "/x", Some("gw")), Ok(()), "{method}");
        }
    }

    #[test]
    fn target_of_a_body_in_another_coding_than_chunked_is_refused() {
        for (coding, expect) in [
            ("chunked", Ok(())),
            ("Chunked", Ok(())),
            ("gzip, chunked", Err(Denial::AmbiguousHeaders)),
            ("chunked, chunked", Err(Denial::AmbiguousHeaders)),
        ] {
            let request = http::Request::post("/x")
                .header(HOST, "gw")
                .header(TRANSFER_ENCODING, coding);
            let head = request.body(()).unwrap().into_parts().0;
            assert_eq!(super::check(&head), expect, "{coding}");
        }
    }

    #[test]
    fn target_authority_that_contradicts_host_is_refused() {
        for (uri, host, ok) in [
            ("/x", Some("gw:8081"), true),
            ("/x", Some("[::1]:8081"), true),
            ("/x", None, false),
            ("/x", Some("a b"), false),
            ("/x", Some("user@gw"), false),
            ("/x", Some("gw:"), true),
            ("/x", Some(""), true),
            ("/x", Some(":80"), false),
            ("/x", Some("gw:abc"), false),
            ("/x", Some("gw:+80"), false),
            ("/x", Some("gw:99999"), false),
            ("/x", Some("a,b"), false),
            ("/x", Some("[::1"), false),
            ("/x", Some("[::1]8081"), false),
            ("/x", Some("[gw]"), false),
            ("http://gw/x", Some("gw"), true),
            ("http://gw/x", Some("GW:80"), true),
            ("https://gw/x", Some("gw:443"), true),
            ("http://gw/x", None, false),
            ("http://evil/x", Some("gw"), false),
            ("http://gw:81/x", Some("gw"), false),
            ("http://user@gw/x", Some("gw"), false),
        ] {
            let expect = if ok { Ok(()) } else { Err(Denial::BadTarget) };
            assert_eq!(check("GET", uri, host), expect, "{uri} {host:?}");
        }
    }

    #[test]
    fn target_host_may_be_absent_only_where_the_protocol_has_none() {
        for (version, uri, ok) in [
            (Version::HTTP_10, "/x", true),
            (Version::HTTP_11, "/x", false),
            (Version::HTTP_10, "http://gw/x", true),
            (Version::HTTP_2, "https://gw/x", true),
            (Version::HTTP_2, "https://gw:99999/x", false),
        ] {
            let request = http::Request::get(uri).version(version);
            let head = request.body(()).unwrap().into_parts().0;
            assert_eq!(super::check(&head).is_ok(), ok, "{version:?} {uri}");
            assert_eq!(check_operator(&head).is_ok(), ok, "{version:?} {uri}");
        }
    }

    #[test]
    fn target_of_an_operators_endpoint_has_one_host() {
        let request = http::Request::get("/health").header(HOST, "a").header(HOST, "a");
        let head = request.body(()).unwrap().into_parts().0;
        assert_eq!(check_operator(&head), Err(Denial::AmbiguousHeaders));
    }

    #[test]
    fn target_head_over_http2_is_bounded_by_fields_and_by_bytes() {
        // `:method GET`, `:scheme https`, `:path /x` and `:authority gw`, and one field of three letters.
        let base = (7 + 3 + 32) + (7 + 5 + 32) + (5 + 2 + 32) + (10 + 2 + 32) + (3 + 32);
        for (version, fields, bytes, ok) in [
            (Version::HTTP_2, 100, 0, true),
            (Version::HTTP_2, 101, 0, false),
            (Version::HTTP_2, 1, MAX_HEADER_LIST_BYTES - base, true),
            (Version::HTTP_2, 1, MAX_HEADER_LIST_BYTES - base + 1, false),
            // The library counts these.
            (Version::HTTP_10, 101, MAX_HEADER_LIST_BYTES, true),
        ] {
            let mut request = http::Request::get("https://gw/x").version(version);
            for _ in 1..fields {
                request = request.header("x-a", "");
            }
            let request = request.header("x-b", "x".repeat(bytes));
            let head = request.body(()).unwrap().into_parts().0;
            let expect = if ok { Ok(()) } else { Err(Denial::HeadTooLarge) };
            assert_eq!(super::check(&head), expect, "{version:?} {fields} {bytes}");
        }
    }
}
