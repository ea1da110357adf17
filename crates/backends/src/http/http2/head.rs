//! A request head in the form of HTTP/2.

use admission::Scheme;
use admission::ports::Cause;
use http::header::HOST;
use http::uri::{Authority, Parts as UriParts, PathAndQuery};
use http::{Request, Uri, Version};

/// `Host` becomes `:authority` (RFC 9113 §8.3.1), everything else stays: what belongs to a connection was taken away by
/// whoever made the head.
///
/// # Errors
/// The head has no host that can be sent.
pub(super) fn in_http2_form<B>(head: &Request<B>, scheme: Scheme) -> Result<Request<()>, Cause> {
    let host = head
        .headers()
        .get(HOST)
        .map(|host| Authority::try_from(host.as_bytes()));
    let Some(Ok(authority)) = host else {
        return Err(Cause::new("request: its host has no form in HTTP/2"));
    };
    let mut uri = UriParts::default();
    uri.scheme = Some(match scheme {
        Scheme::Http => http::uri::Scheme::HTTP,
        Scheme::Https => http::uri::Scheme::HTTPS,
    });
    uri.authority = Some(authority);
    let path = head.uri().path_and_query().cloned();
    uri.path_and_query = Some(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
    let mut request = Request::new(());
    *request.uri_mut() =
        Uri::from_parts(uri).map_err(|_| Cause::new("request: its target has no form in HTTP/2"))?;
    *request.method_mut() = head.method().clone();
    *request.version_mut() = Version::HTTP_2;
    *request.headers_mut() = head.headers().clone();
    request.headers_mut().remove(HOST);
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_becomes_the_authority_and_the_target_stays_byte_for_byte() {
        for (host, target) in [
            ("grpc.example", "/"),
            ("grpc.example:8443", "/a%2Fb//c;d/?x=%20&y={}|"),
            ("[2001:db8::1]:443", "/%E2%82%AC?"),
        ] {
            let request = Request::builder().uri(target).header(HOST, host).header("a", "1");
            let head = in_http2_form(&request.body(()).unwrap(), Scheme::Https).unwrap();
            assert_eq!(head.uri().authority().unwrap(), host);
            assert_eq!(head.uri().path_and_query().unwrap(), target);
            assert_eq!(head.uri().scheme_str(), Some("https"));
            assert_eq!((head.headers().len(), head.version()), (1, Version::HTTP_2));
        }
        let without = Request::builder().uri("/").body(()).unwrap();
        assert!(in_http2_form(&without, Scheme::Http).is_err());
    }
}
