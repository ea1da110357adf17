//! What HTTP/2 could express and HTTP/1.1 would read differently (RFC 9113 §8.1.1, §8.2, §10.3).

use crate::frames::{self, Frame, Frames};
use crate::report::Report;
use crate::world::{NONE, World};
use testkit::wait::PATIENCE;

/// What is refused before anything is dispatched.
const REFUSED: &str = "/refused";
/// A body of another length than its head says.
const PROMISED: &str = "/promised";

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
    for (case, sent) in [
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
        (
            "chunks",
            vec![open(fields(&[("transfer-encoding", "chunked")])), data.clone()],
        ),
        (
            "a connection field",
            vec![open(fields(&[("connection", "keep-alive")])), data.clone()],
        ),
        (
            "a line break in a value",
            vec![open(fields(&[("x-a", "1\r\nX-B: 2")])), data.clone()],
        ),
        (
            "a line feed in a name",
            vec![open(fields(&[("x-a\nx-b", "1")])), data.clone()],
        ),
        (
            "a capital in a name",
            vec![open(fields(&[("X-A", "1")])), data.clone()],
        ),
        (
            "a pseudo field after others",
            vec![open(fields(&[(":path", "/other")])), data.clone()],
        ),
        (
            "another host",
            vec![open(fields(&[("host", "evil.example")])), data.clone()],
        ),
        ("no path", vec![open(without_path), data.clone()]),
    ] {
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
