//! What there is to choose from in each part of a case.

use super::{Download, Field, Upload};

/// How many bytes a small body has.
pub(super) const SMALL: usize = 11;
/// More than a window of HTTP/2, and than a read.
const LARGE: usize = 100_000;

pub(super) const METHODS: [&str; 9] = [
    "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "PROPFIND", "m-x",
];

pub(super) const PATHS: [&str; 9] = [
    "/",
    "/a%2Fb.txt",
    "//a//b/",
    "/a;p=1/b",
    "/%E2%82%AC/%c3%a9",
    "/~!$&'()*+,=:@/-._",
    "/100%25/%zz",
    "/a|b{c}[d]^e",
    "/gr\u{fc}\u{df}e",
];

pub(super) const QUERIES: [&str; 7] = [
    "",
    "?",
    "?a=1&b=2",
    "?%zz;c",
    "?a?b=/../c//d",
    "?empty=&flag&a+b=%2f&",
    "?\u{20ac}={|}^\\'",
];

/// A name of every character that a name may have.
const NAME: &str = "X-!$%&'*+.^`|~9";
const LONG: [u8; 6000] = [b'l'; 6000];

pub(super) const KINDS: [&[Field]; 15] = [
    &[],
    &[
        ("Accept", b"*/*"),
        ("User-Agent", b"probe/1 (a; b)"),
        ("Accept-Encoding", b"gzip;q=1.0, *;q=0.1"),
        ("X-Mixed-CASE", b"Value"),
    ],
    &[
        ("X-A", b"1"),
        ("X-B", b"2"),
        ("X-A", b"3"),
        ("X-A", b""),
        ("x-a", b"3"),
    ],
    &[("X-Empty", b""), ("X-Quoted", b"\"a, b\"; c=\"\\\"\"")],
    &[("X-Long", &LONG)],
    &[("X-Text", b"Gr\xf6\xdfe \x80\xff"), ("X-Tab", b"a\tb")],
    &[("Cookie", b"a=1; b=2"), ("Cookie", b"c=\"3\"")],
    &[
        ("If-None-Match", b"\"e\", W/\"f\""),
        ("If-Modified-Since", b"Sun, 06 Nov 1994 08:49:37 GMT"),
        ("Range", b"bytes=0-3,-2"),
        ("If-Range", b"\"e\""),
    ],
    &[
        ("Connection", b"X-Listed, keep-alive"),
        ("X-Listed", b"1"),
        ("Keep-Alive", b"timeout=5"),
        ("Proxy-Authorization", b"Basic eDp5"),
        ("Proxy-Connection", b"keep-alive"),
        ("Upgrade", b"example/1"),
        ("Proxy", b"http://elsewhere.example"),
    ],
    &[
        ("X-Forwarded-For", b"192.0.2.1, 192.0.2.2"),
        ("X-Forwarded-Proto", b"https"),
        ("X-Forwarded-Prefix", b"/p"),
        ("Forwarded", b"for=192.0.2.1"),
        ("X-Real-IP", b"192.0.2.1"),
    ],
    &[
        ("X-Caracal-Client-ID", b"other"),
        ("X_Caracal_Client_ID", b"other"),
        ("Baggage", b"caracal.zone=z, kept=1;p=2"),
    ],
    &[
        (
            "traceparent",
            b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ),
        ("tracestate", b"v=1"),
        ("X-Request-Id", b"request-7"),
    ],
    &[("traceparent", b"00-0-0-00"), ("tracestate", b"v=1")],
    &[
        ("Content-Type", b"multipart/form-data; boundary=\"=x\""),
        ("Content-Encoding", b"br"),
        ("Origin", b"https://app.example"),
        ("Referer", b"https://app.example/a?b#c"),
    ],
    &[(NAME, b"1"), ("X_Under", b"1"), ("X.Dot", b"1"), ("1", b"1")],
];

pub(super) const TES: [&[Field]; 3] = [
    &[],
    &[("TE", b"trailers")],
    &[("TE", b"deflate;q=0.5, trailers"), ("Connection", b"TE")],
];

pub(super) const UPLOADS: [Upload; 12] = [
    Upload::None,
    Upload::Empty,
    Upload::Length(SMALL),
    Upload::Length(LARGE),
    Upload::Chunks {
        length: SMALL,
        extended: false,
    },
    Upload::Chunks {
        length: 0,
        extended: false,
    },
    Upload::Chunks {
        length: LARGE,
        extended: true,
    },
    Upload::Trailers { announced: true },
    Upload::Trailers { announced: false },
    Upload::Expect,
    Upload::Early,
    Upload::HalfClosed,
];

pub(super) const STATUSES: [(u16, &[u8]); 16] = [
    (200, b"OK"),
    (200, b""),
    (201, b"In Ordnung"),
    (202, b"Gr\xf6\xdfe"),
    (204, b"No Content"),
    (205, b"Reset Content"),
    (206, b"Partial Content"),
    (301, b"Moved Permanently"),
    (304, b"Not Modified"),
    (401, b"Unauthorized"),
    (404, b"Not Found"),
    (416, b"Range Not Satisfiable"),
    (418, b"I'm a teapot"),
    (500, b"Internal Server Error"),
    (503, b"Service Unavailable"),
    (799, b"Odd"),
];

pub(super) const ANSWER_KINDS: [&[Field]; 14] = [
    &[],
    &[
        ("Content-Type", b"text/html; charset=utf-8"),
        ("ETag", b"W/\"e\""),
        ("Last-Modified", b"Sun, 06 Nov 1994 08:49:37 GMT"),
        ("Cache-Control", b"private, max-age=0"),
        ("Vary", b"Accept"),
        ("Accept-Ranges", b"bytes"),
    ],
    &[
        ("Set-Cookie", b"a=1; Expires=Sun, 06 Nov 1994 08:49:37 GMT"),
        ("Link", b"</a.css>; rel=preload"),
        ("Set-Cookie", b"b=2; HttpOnly"),
        ("Set-Cookie", b"a=1"),
    ],
    &[("X-Empty", b""), ("X-Long", &LONG)],
    &[
        ("X-Text", b"Gr\xf6\xdfe \x80\xff"),
        (NAME, b"a\tb"),
        ("X_Under", b"1"),
    ],
    &[
        ("Connection", b"X-Listed"),
        ("X-Listed", b"1"),
        ("Keep-Alive", b"timeout=5"),
        ("Proxy-Authenticate", b"Basic"),
        ("Upgrade", b"h2c"),
    ],
    &[
        ("Server", b"probe/1"),
        ("X-Powered-By", b"probe"),
        ("X-AspNet-Version", b"4"),
        ("Refresh", b"5"),
        ("Alt-Svc", b"h2=\":443\""),
    ],
    &[("Location", b"/next?a=1#f"), ("Content-Location", b"next")],
    &[
        ("Location", b"http://{host}/next?a=1#f"),
        ("Content-Location", b"https://elsewhere.example/x"),
    ],
    &[
        ("X-Request-Id", b"theirs"),
        ("X-Caracal-Revoked", b"true"),
        ("X-Caracal-Other", b"1"),
    ],
    &[
        ("Access-Control-Allow-Origin", b"*"),
        ("Access-Control-Expose-Headers", b"ETag"),
    ],
    &[
        ("Date", b"Sun, 06 Nov 1994 08:49:37 GMT"),
        ("Age", b"0"),
        ("Via", b"1.1 x"),
        ("WWW-Authenticate", b"Basic realm=\"a\", Digest realm=\"b\""),
        ("Retry-After", b"120"),
        ("Content-Range", b"bytes 0-10/20"),
    ],
    &[("Content-Encoding", b"gzip"), ("Content-Type", b"text/plain")],
    &[("Content-Type", b"text/event-stream")],
];

const SUM: &[Field] = &[("X-Sum", b"5"), ("Server-Timing", b"a;dur=1")];
const FOUL: &[Field] = &[
    ("X-Sum", b"5"),
    ("X-Request-Id", b"theirs"),
    ("Content-Length", b"7"),
    ("Set-Cookie", b"a=1"),
];

pub(super) const DOWNLOADS: [Download; 9] = [
    Download::Length(SMALL),
    Download::Length(0),
    Download::Length(LARGE),
    Download::Chunks {
        length: SMALL,
        extended: false,
    },
    Download::Chunks {
        length: LARGE,
        extended: true,
    },
    Download::Close,
    Download::Trailers(SUM, "X-Sum, Server-Timing"),
    Download::Trailers(SUM, ""),
    Download::Trailers(FOUL, "X-Sum, X-Request-Id, Content-Length, Set-Cookie"),
];

pub(super) const INTERIMS: [&[u16]; 4] = [&[], &[103], &[100], &[102, 103, 103]];
