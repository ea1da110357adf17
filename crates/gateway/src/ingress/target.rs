//! What a request may be aimed at, and how it may be coded (RFC 9112 §3.2, §6.1, RFC 9113 §8.3.1).

use admission::Denial;
use http::header::{HOST, TRANSFER_ENCODING};
use http::request::Parts;
use http::uri::Authority;
use http::{Method, Version};

/// Refuses methods that are never proxied, targets whose authority contradicts `Host`, and
/// transfer codings that nobody here undoes: the upstream would take the coded body for the body.
///
/// # Errors
/// [`Denial::MethodNotAllowed`], [`Denial::BadTarget`], [`Denial::AmbiguousHeaders`].
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
    // More than one `Host` is refused by the framing gate, with the other ambiguous heads.
    let host = match head.headers.get(HOST).map(|host| host.to_str()) {
        None => None,
        Some(Ok(host)) => Some(host),
        Some(Err(_)) => return Err(Denial::BadTarget),
    };
    let default_port = head
        .uri
        .scheme_str()
        .map(|scheme| if scheme == "https" { 443 } else { 80 });
    match (head.uri.authority(), host) {
        (Some(authority), _) if authority.as_str().contains('@') => Err(Denial::BadTarget),
        (Some(authority), Some(host)) if !same(authority, host, default_port) => Err(Denial::BadTarget),
        (None, None) if head.version != Version::HTTP_10 => Err(Denial::BadTarget),
        (None, Some(host)) if !host.is_empty() && !is_host(host) => Err(Denial::BadTarget),
        _ => Ok(()),
    }
}

/// `uri-host [":" port]` (RFC 9110 §7.2): user information is no part of it.
fn is_host(text: &str) -> bool {
    !text.contains('@') && text.parse::<Authority>().is_ok()
}

fn same(authority: &Authority, host: &str, default_port: Option<u16>) -> bool {
    let Ok(host) = host.parse::<Authority>() else {
        return false;
    };
    let port = |authority: &Authority| authority.port_u16().or(default_port);
    authority.host().eq_ignore_ascii_case(host.host())
        && port(authority) == port(&host)
        && !host.as_str().contains('@')
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
            ("http://gw/x", Some("gw"), true),
            ("http://gw/x", Some("GW:80"), true),
            ("https://gw/x", Some("gw:443"), true),
            ("http://gw/x", None, true),
            ("http://evil/x", Some("gw"), false),
            ("http://gw:81/x", Some("gw"), false),
            ("http://user@gw/x", Some("gw"), false),
        ] {
            let expect = if ok { Ok(()) } else { Err(Denial::BadTarget) };
            assert_eq!(check("GET", uri, host), expect, "{uri} {host:?}");
        }
    }
}
