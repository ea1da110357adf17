//! Requests of web pages across origins (WHATWG Fetch §3.3), decided from configuration alone.
//!
//! A preflight brings no mandate by design, so it is answered here and never reaches an upstream. That an origin is
//! allowed lets a page read answers; whether there is one but a refusal, its mandate decides. Mandates are no
//! credentials in the sense of Fetch, which a browser would add by itself, so `Access-Control-Allow-Credentials` is
//! never sent.

use admission::fields::{members, only};
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderName, HeaderValue, ORIGIN, VARY,
};
use http::request::Parts;
use http::{Method, Response, StatusCode};

use bytes::Bytes;

use crate::ids::REQUEST_ID;
use crate::relay::Body;

/// Seconds for which a browser may remember the answer to a preflight.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");
/// What the answer to a preflight depends on.
const PREFLIGHT_VARIES: HeaderValue =
    HeaderValue::from_static("Origin, Access-Control-Request-Method, Access-Control-Request-Headers");
const VARIES: HeaderValue = HeaderValue::from_static("Origin");
/// What a page may read of the fields that the gateway states.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "X-Request-Id, X-Caracal-Token-Expires-In, Retry-After, WWW-Authenticate, Grpc-Status, Grpc-Message",
);
/// The longest list of header names that a preflight may ask for, in bytes.
const MAX_ASKED: usize = 4096;
/// How the names of the fields begin that are the gateway's where it knows the origin.
const PREFIX: &str = "access-control-";

/// The origins whose pages may read answers (`CORS_ALLOWED_ORIGINS`).
#[derive(Debug)]
pub struct Cors {
    origins: Vec<HeaderValue>,
}

/// An origin on the list, by which a request was made.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a>(&'a HeaderValue);

impl Cors {
    /// Of these origins, each as browsers send it.
    #[must_use]
    pub fn new(origins: &[String]) -> Self {
        let value = |origin: &String| HeaderValue::from_str(origin).ok();
        Self {
            origins: origins.iter().filter_map(value).collect(),
        }
    }

    /// The listed origin of a request, if it names one, and no other besides.
    #[must_use]
    pub fn origin_of(&self, headers: &HeaderMap) -> Option<Origin<'_>> {
        if self.origins.is_empty() {
            return None;
        }
        let named = only(headers, &ORIGIN)?;
        self.origins.iter().find(|origin| *origin == named).map(Origin)
    }
}

impl Cors {
    /// Lets the pages of a listed origin read an answer. That it depends on the origin every answer says, or a cache would give
    /// one that was made for nobody to a page.
    pub fn admit(&self, origin: Option<Origin<'_>>, headers: &mut HeaderMap) {
        if self.origins.is_empty() {
            return;
        }
        if let Some(origin) = origin {
            origin.admit(headers);
        }
        headers.append(VARY, VARIES);
    }
}

impl Origin<'_> {
    /// The answer to a preflight; `None` if the request is none, or asks for what no request may be.
    #[must_use]
    pub fn preflight(self, head: &Parts, request_id: &HeaderValue) -> Option<Response<Body>> {
        if head.method != Method::OPTIONS {
            return None;
        }
        let method = only(&head.headers, &ACCESS_CONTROL_REQUEST_METHOD)?;
        let asked = Method::from_bytes(method.as_bytes()).ok()?;
        if matches!(asked, Method::CONNECT | Method::TRACE) {
            return None;
        }
        let names = asked_names(&head.headers)?;

        let mut response = Response::new(Body::full(Bytes::new()));
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, self.0.clone());
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, method.clone());
        if let Some(names) = names {
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, names);
        }
        headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        headers.insert(VARY, PREFLIGHT_VARIES);
        headers.insert(REQUEST_ID, request_id.clone());
        Some(response)
    }

    /// Lets the pages of this origin read an answer. What the upstream says of origins itself is replaced; the names
    /// that it exposes are its own, and stay.
    fn admit(self, headers: &mut HeaderMap) {
        let is_replaced =
            |name: &&HeaderName| name.as_str().starts_with(PREFIX) && **name != ACCESS_CONTROL_EXPOSE_HEADERS;
        let replaced: Vec<HeaderName> = headers.keys().filter(is_replaced).cloned().collect();
        for name in replaced {
            headers.remove(name);
        }
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, self.0.clone());
        headers.append(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    }
}

/// The names that a preflight asks for, written anew: `Some(None)` if it asks for none, `None` if one of them is none,
/// or they are too many.
fn asked_names(headers: &HeaderMap) -> Option<Option<HeaderValue>> {
    let mut names = String::new();
    for name in members(headers, &ACCESS_CONTROL_REQUEST_HEADERS) {
        if !names.is_empty() {
            names.push_str(", ");
        }
        names.push_str(HeaderName::from_bytes(name).ok()?.as_str());
        if names.len() > MAX_ASKED {
            return None;
        }
    }
    if names.is_empty() {
        return Some(None);
    }
    HeaderValue::try_from(names).ok().map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "https://app.example";

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn cors() -> Cors {
        Cors::new(&[PAGE.to_owned(), "http://localhost:3000".to_owned()])
    }

    #[test]
    fn cors_origin_is_compared_as_a_whole_and_named_once() {
        let cors = cors();
        for (origins, expect) in [
            (&[PAGE][..], true),
            (&["http://localhost:3000"], true),
            (&["http://localhost"], false),
            (&["https://app.example.evil"], false),
            (&["https://evil.app.example"], false),
            (&["HTTPS://APP.EXAMPLE"], false),
            (&["https://app.example/"], false),
            (&["null"], false),
            (&["https://app.example, https://app.example"], false),
            (&[PAGE, PAGE], false),
            (&[], false),
        ] {
            let lines: Vec<_> = origins.iter().map(|origin| ("origin", *origin)).collect();
            assert_eq!(cors.origin_of(&headers(&lines)).is_some(), expect, "{origins:?}");
        }
        assert!(Cors::new(&[]).origin_of(&headers(&[("origin", PAGE)])).is_none());
    }

    #[test]
    fn cors_preflight_allows_what_it_asks_for_and_nothing_that_is_no_name() {
        let long = "x-a,".repeat(2000);
        for (method, asked, names, expect) in [
            ("OPTIONS", Some("POST"), &[][..], Some(None)),
            (
                "OPTIONS",
                Some("PROPFIND"),
                &["Authorization,x-caracal-resource", " ,X-B"],
                Some(Some("authorization, x-caracal-resource, x-b")),
            ),
            ("OPTIONS", Some("POST"), &["x-a\u{e9}"], None),
            ("OPTIONS", Some("POST"), &["x a"], None),
            ("OPTIONS", Some("POST"), &[&*long], None),
            ("OPTIONS", Some("A B"), &[], None),
            ("OPTIONS", Some("TRACE"), &[], None),
            ("OPTIONS", Some("CONNECT"), &[], None),
            ("OPTIONS", None, &[], None),
            ("POST", Some("POST"), &[], None),
        ] {
            let mut head = http::Request::builder().method(method).body(()).unwrap();
            head.headers_mut().insert(ORIGIN, HeaderValue::from_static(PAGE));
            if let Some(asked) = asked {
                let asked = HeaderValue::from_static(asked);
                head.headers_mut().insert(ACCESS_CONTROL_REQUEST_METHOD, asked);
            }
            for line in names {
                let line = HeaderValue::from_bytes(line.as_bytes()).unwrap();
                head.headers_mut().append(ACCESS_CONTROL_REQUEST_HEADERS, line);
            }
            let (cors, head) = (cors(), head.into_parts().0);
            let origin = cors.origin_of(&head.headers).unwrap();
            let answer = origin.preflight(&head, &HeaderValue::from_static("id"));
            let names = answer.map(|answer| {
                assert_eq!(answer.status(), 204);
                let allowed = answer.headers().get(ACCESS_CONTROL_ALLOW_HEADERS).cloned();
                allowed.map(|names| names.to_str().unwrap().to_owned())
            });
            let expect = expect.map(|names| names.map(str::to_owned));
            assert_eq!(names, expect, "{method} {asked:?}");
        }
    }

    #[test]
    fn cors_fields_of_the_upstream_are_replaced_but_for_what_it_exposes() {
        let cors = cors();
        let request = headers(&[("origin", PAGE)]);
        let mut answer = headers(&[
            ("access-control-allow-origin", "*"),
            ("access-control-allow-credentials", "true"),
            ("access-control-allow-methods", "*"),
            ("access-control-expose-headers", "Mcp-Session-Id"),
            ("vary", "Accept-Encoding"),
            ("x-other", "1"),
        ]);
        cors.admit(cors.origin_of(&request), &mut answer);
        let all = |name: &str| {
            let lines = answer.get_all(name).iter();
            lines.map(|line| line.to_str().unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(all("access-control-allow-origin"), [PAGE]);
        assert_eq!(all("access-control-allow-credentials"), [""; 0]);
        assert_eq!(all("access-control-allow-methods"), [""; 0]);
        assert_eq!(all("access-control-expose-headers")[0], "Mcp-Session-Id");
        assert_eq!(all("access-control-expose-headers").len(), 2);
        assert_eq!(all("vary"), ["Accept-Encoding", "Origin"]);
        assert_eq!(all("x-other"), ["1"]);

        let mut of_nobody = headers(&[("access-control-allow-origin", "*")]);
        cors.admit(None, &mut of_nobody);
        assert_eq!(
            of_nobody,
            headers(&[("access-control-allow-origin", "*"), ("vary", "Origin")])
        );
        let mut without = HeaderMap::new();
        Cors::new(&[]).admit(None, &mut without);
        assert!(without.is_empty());
    }
}
