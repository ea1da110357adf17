use super::{Connection, Cursor, Extent, Id, Progress};
use crate::revocation::message::Stream;
use Connection::{New, Same};
use Progress::{Continues, MessagesMayBeLost};

fn id(milliseconds: u64) -> Id {
    Id {
        milliseconds,
        number: 0,
    }
}

/// A stream of the messages `ids`, after `trimmed` others.
fn extent(ids: &[u64], last: u64, trimmed: u64) -> Extent {
    let length = u64::try_from(ids.len()).unwrap();
    Extent {
        oldest: ids.first().map(|&at| id(at)),
        newest: ids.last().map(|&at| id(at)),
        last: id(last),
        length,
        written: Some(trimmed + length),
    }
}

/// The same as a server before Redis 7.0 tells it.
fn uncounted(extent: Extent) -> Extent {
    Extent {
        written: None,
        ..extent
    }
}

/// A cursor that has read everything up to 500.
fn caught_up(stream: Stream, before: &Extent) -> Cursor {
    let mut cursor = Cursor::new(stream);
    cursor.locate(before, id(0), Same);
    (cursor.at, cursor.incomplete) = (Some(id(500)), false);
    cursor
}

#[test]
fn ids_are_read_written_and_ordered() {
    let id = Id::parse("1790000000000-18446744073709551615").unwrap();
    assert_eq!(id.to_string(), "1790000000000-18446744073709551615");
    assert!(Id::parse("9-0").unwrap() < Id::parse("10-0").unwrap());
    for text in ["", "1", "1-", "-1", "a-b", "1-2-3"] {
        assert!(Id::parse(text).is_err(), "{text}");
    }
}

#[test]
fn cursor_starts_at_the_end_except_for_revocations() {
    for (stream, held, last, expect) in [
        (Stream::Agents, &[100, 900][..], 900, 900),
        (Stream::Agents, &[], 900, 900),
        (Stream::Agents, &[], 0, 0),
        (Stream::Revocations, &[100, 900], 900, 500),
        (Stream::Revocations, &[100, 400], 400, 400),
        (Stream::Revocations, &[], 0, 0),
    ] {
        let mut cursor = Cursor::new(stream);
        let progress = cursor.locate(&extent(held, last, 0), id(500), New);
        assert_eq!(progress, Continues);
        assert_eq!(cursor.at(), id(expect), "{stream:?} {held:?}");
    }
}

#[test]
fn cursor_notices_what_is_gone() {
    let before = extent(&[400, 500], 500, 7);
    for (after, expect, at) in [
        (extent(&[400, 500], 500, 7), Continues, 500),
        (extent(&[500, 600], 600, 8), Continues, 500),
        (extent(&[600], 600, 9), Continues, 500),
        (extent(&[], 500, 9), Continues, 500),
        (extent(&[], 600, 10), MessagesMayBeLost, 500),
        (extent(&[700], 700, 10), MessagesMayBeLost, 500),
        // It was deleted, and another one has begun.
        (extent(&[600], 600, 0), MessagesMayBeLost, 500),
        (extent(&[100], 400, 0), MessagesMayBeLost, 0),
        (Extent::NONE, MessagesMayBeLost, 0),
    ] {
        let mut cursor = caught_up(Stream::Agents, &before);
        assert_eq!(cursor.locate(&after, id(0), Same), expect, "{after:?}");
        assert_eq!(
            (cursor.at(), cursor.incomplete),
            (id(at), expect == MessagesMayBeLost),
            "{after:?}"
        );
        cursor.incomplete = false;
        assert_eq!(cursor.locate(&after, id(0), Same), Continues, "a gap is one gap");
    }
}

#[test]
fn cursor_on_a_new_connection_does_not_rest_on_the_count_alone() {
    let before = extent(&[400, 500], 500, 7);
    for (after, expect) in [
        (extent(&[500, 600], 600, 8), Continues),
        (extent(&[], 500, 9), Continues),
        // It may be another stream, whose count happens to fit.
        (extent(&[600], 600, 9), MessagesMayBeLost),
    ] {
        let mut cursor = caught_up(Stream::Agents, &before);
        assert_eq!(cursor.locate(&after, id(0), New), expect, "{after:?}");
        assert_eq!(cursor.locate(&after, id(0), Same), Continues, "a gap is one gap");
    }
}

#[test]
fn cursor_counts_what_it_reads_itself() {
    let mut cursor = caught_up(Stream::Agents, &extent(&[500], 500, 0));
    cursor.advance(id(600));
    cursor.advance(id(700));
    assert_eq!(cursor.locate(&extent(&[], 700, 3), id(0), Same), Continues);
    cursor.advance(id(900));
    // The one of 800 came and went while nobody looked.
    assert_eq!(
        cursor.locate(&extent(&[900], 900, 4), id(0), Same),
        MessagesMayBeLost
    );
}

#[test]
fn cursor_of_a_server_that_does_not_count_takes_no_chance() {
    let before = uncounted(extent(&[400, 500], 500, 0));
    for (after, expect) in [
        (extent(&[500, 600], 600, 0), Continues),
        (extent(&[], 500, 0), Continues),
        (extent(&[600], 600, 0), MessagesMayBeLost),
    ] {
        let mut cursor = caught_up(Stream::Agents, &before);
        assert_eq!(cursor.locate(&uncounted(after), id(0), Same), expect, "{after:?}");
    }
}

#[test]
fn cursor_of_a_stream_that_never_existed_loses_nothing() {
    let mut cursor = Cursor::new(Stream::Agents);
    cursor.locate(&Extent::NONE, id(0), Same);
    assert_eq!(cursor.locate(&Extent::NONE, id(0), Same), Continues);
    assert_eq!(
        cursor.locate(&extent(&[100, 200], 200, 0), id(0), Same),
        Continues
    );
}
