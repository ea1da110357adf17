use super::*;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, HeaderName};
use http::{Method, Request};

mod properties;

use crate::testing::{claiming, no_credential, query_key, url};

const URL: &str = "https://up.example:8443/base?v=1";

fn head(headers: &[(&str, &str)]) -> Parts {
    let mut builder = Request::builder().uri("/x?a=1");
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(()).unwrap().into_parts().0
}

fn cross(head: Parts, credential: Credential) -> Result<Rewritten, RewriteError> {
    cross_with(head, credential, false)
}

fn cross_with(head: Parts, credential: Credential, is_bodiless: bool) -> Result<Rewritten, RewriteError> {
    let crossing = Crossing {
        peer: "203.0.113.9".parse().unwrap(),
        scheme: Scheme::Https,
        request_id: &HeaderValue::from_static("id-1"),
        trusted_proxies: &TrustedProxies::default(),
        trace: FreshTrace::from_random([0x11; 16], [0x22; 8]),
        is_bodiless,
    };
    request_head(head, &crossing, &url(URL), &credential)
}

/// The lines that go upstream, sorted.
fn lines(head: &Parts) -> Vec<String> {
    let mut lines: Vec<String> = head
        .headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))
        .collect();
    lines.sort_unstable();
    lines
}

const STATED: [&str; 6] = [
    "host: up.example:8443",
    "traceparent: 00-11111111111111111111111111111111-2222222222222222-01",
    "x-forwarded-for: 203.0.113.9",
    "x-forwarded-host: gateway.example",
    "x-forwarded-proto: https",
    "x-request-id: id-1",
];

/// Checks that exactly the given lines go upstream beside those that the gateway always states.
fn check(headers: &[(&str, &str)], credential: Credential, expect: &[&str]) {
    let mut with_host = vec![("host", "gateway.example")];
    with_host.extend(headers);
    let mut expect: Vec<&str> = STATED.into_iter().chain(expect.iter().copied()).collect();
    expect.sort_unstable();
    assert_eq!(
        lines(&cross(head(&with_host), credential).unwrap().head),
        expect,
        "{headers:?}"
    );
}

fn bearer() -> Credential {
    Credential::header(AUTHORIZATION, "Bearer", "up").unwrap()
}

fn api_key() -> Credential {
    Credential::header(HeaderName::from_static("x-api-key"), "", "up").unwrap()
}

#[test]
fn nothing_is_added_that_the_caller_did_not_send() {
    check(&[], no_credential(), &[]);
}

#[test]
fn ordinary_headers_cross_unchanged() {
    let headers = [
        ("accept", "*/*"),
        ("content-length", "5"),
        ("cookie", "a=b"),
        ("my_header", "x"),
        ("mcp-session-id", "s"),
        ("user-agent", "u"),
        ("via", "1.1 other"),
        ("x-api-key", "own"),
    ];
    let expect = headers.map(|(name, value)| format!("{name}: {value}"));
    check(&headers, no_credential(), &expect.each_ref().map(String::as_str));
}

#[test]
fn repeated_headers_cross_in_order() {
    let outbound = cross(head(&[("accept", "b"), ("accept", "a")]), no_credential()).unwrap();
    let values: Vec<_> = outbound.head.headers.get_all("accept").iter().collect();
    assert_eq!(values, ["b", "a"]);
}

#[test]
fn target_is_origin_form_below_the_base() {
    let outbound = cross(head(&[]), no_credential()).unwrap();
    assert_eq!(outbound.head.uri, "/base/x?v=1&a=1");
    assert_eq!(
        (outbound.head.uri.scheme(), outbound.head.uri.authority()),
        (None, None)
    );
    assert_eq!(outbound.head.version, Version::HTTP_11);
}

#[test]
fn target_that_names_no_path_is_refused() {
    for target in ["*", "gateway.example:443"] {
        let mut head = head(&[]);
        head.uri = target.parse().unwrap();
        assert_eq!(
            cross(head, no_credential()).err().unwrap(),
            RewriteError::Target,
            "{target}"
        );
    }
}

#[test]
fn extensions_of_the_callers_connection_do_not_cross() {
    let mut head = head(&[]);
    head.extensions.insert("left by the server library");
    assert!(cross(head, no_credential()).unwrap().head.extensions.is_empty());
}

#[test]
fn hop_by_hop_headers_do_not_cross() {
    let headers = [
        ("connection", "keep-alive"),
        ("http2-settings", "AAMAAABkAAQAAP__"),
        ("keep-alive", "timeout=5"),
        ("proxy", "http://evil.example"),
        ("proxy-authenticate", "Basic"),
        ("proxy-authorization", "Basic eA=="),
        ("proxy-connection", "keep-alive"),
        ("te", "gzip"),
        ("trailer", "transfer-encoding"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "websocket"),
        ("Transfer_Encoding", "chunked"),
        ("Content_Length", "7"),
        ("Proxy_Connection", "keep-alive"),
    ];
    check(&headers, no_credential(), &[]);
}

#[test]
fn connection_second_line_is_honoured_in_the_request() {
    check(
        &[
            ("connection", "close"),
            ("connection", "X-Secret"),
            ("x-secret", "1"),
            ("b", "2"),
        ],
        bearer(),
        &["authorization: Bearer up", "b: 2"],
    );
}

#[test]
fn connection_cannot_remove_what_the_gateway_states() {
    let named = "X-Forwarded-For, X-Forwarded-Proto, X-Forwarded-Host, X-Request-Id, Host, Authorization, \
                 X-Caracal-Identity, traceparent, TE";
    let credential = bearer().with_identity("mandate").unwrap();
    check(
        &[("connection", named), ("te", "trailers")],
        credential,
        &[
            "authorization: Bearer up",
            "te: trailers",
            "x-caracal-identity: mandate",
        ],
    );
}

#[test]
fn reserved_headers_of_the_caller_do_not_cross_in_any_spelling() {
    let names = [
        "Forwarded",
        "X-Forwarded-For",
        "X-Forwarded-Uri",
        "X-Forwarded-Prefix",
        "X_Forwarded_For",
        "x-forwarded_host",
        "X-Real-IP",
        "x_real_ip",
        "X-Caracal-Identity",
        "X_Caracal_Identity",
        "X-Caracal-Client-ID",
        "X-Caracal-Resource",
        "X-Request-Id",
        "X_Request_Id",
    ];
    check(&names.map(|name| (name, "spoofed")), no_credential(), &[]);
}

#[test]
fn the_callers_mandate_does_not_cross_in_any_mode() {
    let headers = [
        ("authorization", "Bearer mandate"),
        ("authorization", "Bearer second"),
    ];
    check(&headers, no_credential(), &[]);
    check(&headers, bearer(), &["authorization: Bearer up"]);
    check(&headers, api_key(), &["x-api-key: up"]);
    check(&headers, query_key("key", "up"), &[]);
}

#[test]
fn the_callers_value_of_the_credential_header_does_not_cross_in_any_spelling() {
    let headers = [
        ("x-api-key", "own"),
        ("X_Api_Key", "own"),
        ("x-api_key", "own"),
        ("x-api-keys", "other"),
    ];
    check(&headers, api_key(), &["x-api-key: up", "x-api-keys: other"]);
    let claimed = HeaderName::from_static("x-api-key");
    check(&headers, claiming(claimed), &["x-api-keys: other"]);
}

#[test]
fn credential_in_the_query_is_joined_to_the_target() {
    let mut head = head(&[]);
    head.uri = "/x?key=evil&a=1&%6bey=evil".parse().unwrap();
    let outbound = cross(head, query_key("key", "s3cret")).unwrap();
    assert_eq!(outbound.head.uri, "/base/x?v=1&a=1&key=s3cret");
}

#[test]
fn expect_is_answered_by_the_gateway_and_does_not_cross() {
    check(
        &[("expect", "100-continue"), ("content-length", "5")],
        no_credential(),
        &["content-length: 5"],
    );
}

#[test]
fn content_length_crosses_and_is_settled_first() {
    check(
        &[("content-length", "0")],
        no_credential(),
        &["content-length: 0"],
    );
    check(
        &[("content-length", "5"), ("content-length", "5")],
        no_credential(),
        &["content-length: 5"],
    );
    check(
        &[("content-length", "5"), ("transfer-encoding", "chunked")],
        no_credential(),
        &[],
    );
    check(
        &[("content-length", "5"), ("connection", "content-length")],
        no_credential(),
        &["content-length: 5"],
    );
    let ambiguous = head(&[("content-length", "5"), ("content-length", "6")]);
    assert_eq!(
        cross(ambiguous, no_credential()).err().unwrap(),
        RewriteError::AmbiguousLength
    );
}

#[test]
fn te_trailers_is_sent_again_and_nothing_else_of_te() {
    check(
        &[("te", "gzip;q=0.5, trailers"), ("connection", "te")],
        no_credential(),
        &["te: trailers"],
    );
    check(&[("te", "deflate")], no_credential(), &[]);
}

#[test]
fn trailers_of_the_request_are_announced_anew() {
    let trailer = (
        "trailer",
        "X-Checksum, Host, X-Api-Key, x_api_key, x-forwarded-for",
    );
    check(
        &[trailer, ("transfer-encoding", "chunked")],
        api_key(),
        &["trailer: x-checksum", "x-api-key: up"],
    );
    check(
        &[trailer, ("content-length", "5")],
        api_key(),
        &["content-length: 5", "x-api-key: up"],
    );
}

#[test]
fn trailers_of_the_request_are_filtered_with_the_credential_in_mind() {
    let outbound = cross(head(&[]), api_key()).unwrap();
    let mut trailers = head(&[("x_api_key", "own"), ("x-checksum", "1")]).headers;
    outbound.trailers.filter(&mut trailers);
    assert_eq!(trailers.keys().collect::<Vec<_>>(), ["x-checksum"]);
}

#[test]
fn traceparent_of_the_caller_is_kept_with_its_tracestate() {
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let outbound = cross(
        head(&[("traceparent", parent), ("tracestate", "v=1")]),
        no_credential(),
    )
    .unwrap();
    assert_eq!(outbound.head.headers["traceparent"], parent);
    assert_eq!(outbound.head.headers["tracestate"], "v=1");
}

#[test]
fn tracestate_without_its_traceparent_does_not_cross() {
    check(&[("tracestate", "v=1")], no_credential(), &[]);
    check(
        &[("tracestate", "v=1"), ("traceparent", "00-xyz")],
        no_credential(),
        &[],
    );
}

#[test]
fn baggage_of_the_gateways_own_names_does_not_cross() {
    check(
        &[("baggage", "a=1,Caracal.session=s"), ("baggage", "caracal.hop=2")],
        no_credential(),
        &["baggage: a=1"],
    );
}

#[test]
fn cookies_that_http2_split_are_joined() {
    check(
        &[("cookie", "a=1"), ("cookie", "b=2"), ("cookie", "c=3")],
        no_credential(),
        &["cookie: a=1; b=2; c=3"],
    );
}

#[test]
fn host_of_an_http2_caller_is_its_authority() {
    let mut head = head(&[]);
    head.uri = "https://gateway.example/x".parse().unwrap();
    head.version = Version::HTTP_2;
    head.method = Method::POST;
    let outbound = cross(head, no_credential()).unwrap();
    assert_eq!(lines(&outbound.head), STATED);
    assert_eq!(outbound.head.method, Method::POST);
}

#[test]
fn request_without_body_states_so_where_its_method_has_a_meaning_for_one() {
    for (method, length, is_bodiless, expect) in [
        ("POST", None, true, Some("0")),
        ("PUT", None, true, Some("0")),
        ("PATCH", None, true, Some("0")),
        ("QUERY", None, true, Some("0")),
        ("GET", None, true, None),
        ("DELETE", None, true, None),
        ("POST", None, false, None),
        ("POST", Some("0"), true, Some("0")),
        ("POST", Some("5"), false, Some("5")),
    ] {
        let mut head = head(&[]);
        head.method = method.parse().unwrap();
        head.version = Version::HTTP_2;
        if let Some(length) = length {
            head.headers
                .insert(CONTENT_LENGTH, HeaderValue::from_static(length));
        }
        let outbound = cross_with(head, no_credential(), is_bodiless).unwrap();
        let stated = outbound
            .head
            .headers
            .get(CONTENT_LENGTH)
            .map(|length| length.to_str().unwrap());
        assert_eq!(stated, expect, "{method} {length:?} {is_bodiless}");
    }
}
