use http::Response;

use super::*;
use crate::clock;

const INTERVAL: Duration = Duration::from_secs(15);

fn stream(status: u16, fields: &[(&str, &str)], keepalive: Option<Duration>) -> EventStream {
    let mut answer = Response::builder()
        .status(status)
        .header("content-type", "text/event-stream");
    for (name, value) in fields {
        answer = answer.header(*name, *value);
    }
    let (head, ()) = answer.body(()).unwrap().into_parts();
    EventStream::of(&head, keepalive).unwrap()
}

fn pass(stream: &mut EventStream, text: &'static str) -> Bytes {
    stream.pass(Bytes::from_static(text.as_bytes()))
}

#[test]
fn event_stream_is_at_a_boundary_behind_an_empty_line() {
    for (text, expect) in [
        ("", true),
        ("\n", true),
        ("\r\n", true),
        ("data: 1\n\n", true),
        ("data: 1\r\n\r\n", true),
        ("data: 1\r\n\r", true),
        ("data: 1\r\r", true),
        ("data: 1\r\r\n", true),
        ("data: 1\n\r\n", true),
        (": keep-alive\n\n", true),
        ("data: 1\n", false),
        ("data: 1\r\n", false),
        ("data: 1\r", false),
        ("data: 1", false),
        ("d", false),
        ("data: 1\n\nid", false),
    ] {
        let mut whole = stream(200, &[], None);
        pass(&mut whole, text);
        assert_eq!(whole.is_at_boundary(), expect, "{text:?}");
        let mut by_one = stream(200, &[], Some(INTERVAL));
        for byte in text.bytes() {
            by_one.pass(vec![byte].into());
        }
        assert_eq!(by_one.is_at_boundary(), expect, "{text:?} byte by byte");
        let due = by_one.comment_due(clock::instant());
        assert_eq!(due.is_some(), expect, "{text:?}: a comment");
    }
    let coded = [("content-encoding", "identity"), ("content-encoding", "gzip")];
    assert!(!stream(200, &coded, None).is_at_boundary());
}

#[test]
fn event_stream_has_comments_only_where_they_change_nothing() {
    for (status, fields, keepalive, expect) in [
        (200, [].as_slice(), Some(INTERVAL), true),
        (200, &[("content-encoding", "Identity")], Some(INTERVAL), true),
        (200, &[], None, false),
        (206, &[], Some(INTERVAL), false),
        (500, &[], Some(INTERVAL), false),
        (200, &[("content-encoding", "gzip")], Some(INTERVAL), false),
        (
            200,
            &[("content-digest", "sha-256=:YQ==:")],
            Some(INTERVAL),
            false,
        ),
    ] {
        let due = stream(status, fields, keepalive).comment_due(clock::instant());
        assert_eq!(due.is_some(), expect, "{status} {fields:?} {keepalive:?}");
    }
}

#[test]
fn event_stream_counts_the_silence_from_the_last_byte_and_makes_up_for_nothing() {
    let mut events = stream(200, &[], Some(INTERVAL));
    let start = clock::instant();
    let after = |intervals: u32| start + INTERVAL * intervals;
    assert_eq!(events.comment_due(start), Some(after(1)));
    assert_eq!(events.comment_due(start + INTERVAL / 2), Some(after(1)));
    // Asked late: at the rate of before.
    events.put_off(after(1) + INTERVAL / 3);
    assert_eq!(events.comment_due(after(1)), Some(after(2)));
    // Asked after many of them: one, and the next an interval later.
    events.put_off(after(10));
    assert_eq!(events.comment_due(after(10)), Some(after(11)));
    // A byte of the upstream's ends the silence, and an event that is under way keeps comments away.
    pass(&mut events, "data: 1\n");
    assert_eq!(events.comment_due(after(11)), None);
    pass(&mut events, "\n");
    assert_eq!(events.comment_due(after(20)), Some(after(21)));
}

#[test]
fn event_stream_loses_a_byte_order_mark_only_behind_a_comment() {
    let mark = "\u{feff}".as_bytes();
    let event: &[u8] = b"data: 1\n\n";
    for (case, stream_text, expect) in [
        ("a mark", [mark, event].concat(), event.to_vec()),
        ("none", event.to_vec(), event.to_vec()),
        (
            "a second one",
            [mark, mark, event].concat(),
            [mark, event].concat(),
        ),
        (
            "a part of one",
            [&mark[..2], event].concat(),
            [&mark[..2], event].concat(),
        ),
    ] {
        for size in 1..=stream_text.len() {
            for is_behind in [false, true] {
                let mut events = stream(200, &[], Some(INTERVAL));
                if is_behind {
                    assert_eq!(events.comment(), COMMENT);
                }
                let mut passed = Vec::new();
                for piece in stream_text.chunks(size) {
                    passed.extend(events.pass(Bytes::copy_from_slice(piece)));
                }
                let expect = if is_behind { &expect } else { &stream_text };
                assert_eq!(
                    passed, *expect,
                    "{case}, in pieces of {size}, behind a comment: {is_behind}"
                );
                assert!(events.is_at_boundary());
            }
        }
    }
}
