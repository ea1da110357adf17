//! How far a stream has been read.

use std::fmt;
use std::time::Duration;

use admission::ports::Cause;

use crate::component::milliseconds;
use crate::revocation::message::Stream;

/// The id of a message: the server's Unix milliseconds when it was written, and a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Id {
    milliseconds: u64,
    number: u64,
}

impl Id {
    /// Before every message.
    pub(super) const START: Self = Self {
        milliseconds: 0,
        number: 0,
    };

    /// Before every message of this Unix time and later.
    pub(super) fn at(unix: Duration) -> Self {
        Self {
            milliseconds: milliseconds(unix),
            number: 0,
        }
    }

    pub(super) fn parse(text: &str) -> Result<Self, Cause> {
        text.split_once('-')
            .and_then(|(milliseconds, number)| {
                Some(Self {
                    milliseconds: milliseconds.parse().ok()?,
                    number: number.parse().ok()?,
                })
            })
            .ok_or_else(|| Cause::new("redis: unexpected message id"))
    }

    /// When it was written, by the server's clock.
    pub(super) fn written(self) -> Duration {
        Duration::from_millis(self.milliseconds)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.milliseconds, self.number)
    }
}

/// Whether reading goes on where it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Nothing lies between.
    Continues,
    /// Messages may have come and gone unread.
    MessagesMayBeLost,
}

/// How far one stream has been read.
#[derive(Debug)]
pub(super) struct Cursor {
    pub(super) stream: Stream,
    /// Whether a snapshot is needed before what was read is the whole truth.
    pub(super) incomplete: bool,
    at: Option<Id>,
}

impl Cursor {
    pub(super) fn new(stream: Stream) -> Self {
        Self {
            stream,
            incomplete: true,
            at: None,
        }
    }

    /// The last message that was read.
    pub(super) fn at(&self) -> Id {
        self.at.unwrap_or(Id::START)
    }

    pub(super) fn advance(&mut self, id: Id) {
        self.at = Some(id);
    }

    /// Takes up a new connection, given the ends of the stream there.
    pub(super) fn locate(&mut self, oldest: Option<Id>, newest: Option<Id>, backlog: Id) -> Progress {
        let Some(at) = self.at else {
            let newest = newest.unwrap_or(Id::START);
            self.at = Some(match self.stream {
                Stream::Revocations => newest.min(backlog),
                // The database holds what these announced before.
                Stream::Agents | Stream::Delegations | Stream::Keys => newest,
            });
            return Progress::Continues;
        };
        let started_over = newest.unwrap_or(Id::START) < at;
        if started_over {
            // Another stream under the same name: its ids say nothing about ours.
            self.at = Some(Id::START);
        }
        let trimmed = oldest.is_some_and(|oldest| oldest > at);
        if started_over || trimmed {
            self.incomplete = true;
            return Progress::MessagesMayBeLost;
        }
        Progress::Continues
    }
}

#[cfg(test)]
mod tests {
    use super::{Cursor, Id, Progress};
    use crate::revocation::message::Stream;

    fn id(milliseconds: u64) -> Id {
        Id {
            milliseconds,
            number: 0,
        }
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
        for (stream, newest, expect) in [
            (Stream::Agents, Some(900), 900),
            (Stream::Agents, None, 0),
            (Stream::Revocations, Some(900), 500),
            (Stream::Revocations, Some(400), 400),
            (Stream::Revocations, None, 0),
        ] {
            let mut cursor = Cursor::new(stream);
            let progress = cursor.locate(newest.map(|_| id(100)), newest.map(id), id(500));
            assert_eq!(progress, Progress::Continues);
            assert_eq!(cursor.at(), id(expect), "{stream:?} {newest:?}");
        }
    }

    #[test]
    fn cursor_notices_what_is_gone() {
        use Progress::{Continues, MessagesMayBeLost};
        for (oldest, newest, expect, at) in [
            (Some(100), Some(600), Continues, 500),
            (Some(500), Some(500), Continues, 500),
            (Some(501), Some(600), MessagesMayBeLost, 500),
            (None, None, MessagesMayBeLost, 0),
            (Some(100), Some(400), MessagesMayBeLost, 0),
        ] {
            let mut cursor = Cursor::new(Stream::Agents);
            cursor.incomplete = false;
            cursor.advance(id(500));
            assert_eq!(cursor.locate(oldest.map(id), newest.map(id), id(0)), expect);
            assert_eq!(
                (cursor.at(), cursor.incomplete),
                (id(at), expect == MessagesMayBeLost)
            );
        }
    }

    #[test]
    fn cursor_of_a_stream_that_never_existed_loses_nothing() {
        let mut cursor = Cursor::new(Stream::Agents);
        cursor.locate(None, None, id(0));
        assert_eq!(cursor.locate(None, None, id(0)), Progress::Continues);
    }
}
