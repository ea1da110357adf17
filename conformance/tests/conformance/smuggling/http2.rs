//! What HTTP/2 could express and HTTP/1.1 would read differently (RFC 9113 §8.1.1, §8.2, §10.3).

use crate::frames::{self, Frame, Frames};
use crate::report::Report;
use crate::world::{NONE, World};
use testkit::wait::PATIENCE;

/// What is refused before anything is dispatched.
const REFUSED: &str = "/refused";
/// A body of another length than its head says.
const PROMISED: &str = "/promised";

/// Fields behind those of a request that make it malformed (RFC 9113 §8.2, §8.3).
const FIELDS: [(&str, &str, &str); 21] = [
    ("chunks", "transfer-encoding", "chunked"),
    ("chunks behind a space", " transfer-encoding", "chunked"),
    ("a field in a name", "transfer-encoding: chunked\r\nx-a", "1"),
    ("a connection field", "connection", "keep-alive"),
    ("a proxy's connection field", "proxy-connection", "keep-alive"),
    ("an upgrade", "upgrade", "h2c"),
    ("a coding of the answer", "te", "gzip"),
    ("a signed length", "content-length", "+5"),
    ("two lengths in one field", "content-length", "5, 4"),
    ("a line break in a value", "x-a", "1\r\nX-B: 2"),
    ("a carriage return in a value", "x-a", "1\r2"),
    ("a line feed in a value", "x-a", "1\n2"),
    ("a NUL in a value", "x-a", "1\x002"),
    ("a line feed in a name", "x-a\nx-b", "1"),
    ("a colon in a name", "x-a: 1", "2"),
    ("a space in a name", "x a", "1"),
    ("an empty name", "", "1"),
    ("a capital in a name", "X-A", "1"),
    ("a pseudo field after others", ":path", "/other"),
    ("an unknown pseudo field after others", ":foo", "1"),
    ("another host", "host", "evil.example"),
];

/// Methods and paths that hold more than one.
const LINES: [(&str, &str, &str); 5] = [
    (
        "a request line in the method",
        "POST /x HTTP/1.1\r\nX-A: 1",
        REFUSED,
    ),
    ("a space in the method", "POST /x", REFUSED),
    ("a request line in the path", "POST", "/x HTTP/1.1\r\nX-A: 1"),
    ("a space in the path", "POST", "/x HTTP/1.1"),
    ("a path without a slash", "POST", "x"),
];

#[tokio::test]
async fn smuggling_over_http2_cannot_change_the_framing_of_http1() {
    let world = World::start().await;
    let mut report = Report::default();
    let token = world.token(NONE);
    let fields_at = |path, extra: &[_]| frames::request("POST", &token, NONE, path, extra);
    let fields = |extra: &[_]| fields_at(REFUSED, extra);
    let data = Frame::new(frames::DATA, frames::END_STREAM, 1, "hello");
    let open = |block: Vec<u8>| Frame::new(frames::HEADERS, frames::END_HEADERS, 1, block);
    let mut without_path = fields(&[]);
    without_path.clear();
    without_path.extend(frames::block(&[
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "a"),
    ]));
    let mut cases = vec![
        (
            "a length below the data",
            vec![
                open(fields_at(PROMISED, &[("content-length", "4")])),
                data.clone(),
            ],
        ),
        (
            "a length above the data",
            vec![
                open(fields_at(PROMISED, &[("content-length", "6")])),
                data.clone(),
            ],
        ),
        (
            "two lengths",
            vec![
                open(fields(&[("content-length", "5"), ("content-length", "4")])),
                data.clone(),
            ],
        ),
        ("no path", vec![open(without_path), data.clone()]),
    ];
    for (case, name, value) in FIELDS {
        cases.push((case, vec![open(fields(&[(name, value)])), data.clone()]));
    }
    for (case, method, path) in LINES {
        let block = frames::request(method, &token, NONE, path, &[]);
        cases.push((case, vec![open(block), data.clone()]));
    }
    for (case, name) in [("two paths", ":path"), ("an unknown pseudo field", ":foo")] {
        let block = [frames::block(&[(name, "/other")]), fields(&[])].concat();
        cases.push((case, vec![open(block), data.clone()]));
    }
    for (case, sent) in cases {
        let mut client = Frames::open(world.addr()).await;
        let _ = client.send(&sent).await;
        let answer = client
            .find(|frame| {
                matches!(frame.kind, frames::RST_STREAM | frames::GOAWAY)
                    || (frame.kind == frames::HEADERS && frame.stream == 1)
            })
            .await;
        // 0x8c is the indexed field `:status: 400` (RFC 7541, appendix A).
        let refused = match &answer {
            None => true,
            Some(frame) if frame.kind == frames::HEADERS => frame.payload.first() == Some(&0x8c),
            Some(_) => true,
        };
        report.holds(format!("{case}: {answer:?}"), refused);
    }
    // A body that breaks its promise may be noticed only when its upstream is already there; it must not look whole.
    let upstream = world.stack.upstream();
    upstream.wait_for(PATIENCE, |counts| counts.in_flight == 0).await;
    for seen in upstream.recorded() {
        report.equal("dispatched", seen.target().as_str(), PROMISED);
        report.holds("a broken promise does not look whole", seen.body().is_none());
    }
    report.finish();
}
