//! How far a stream has been read, and whether all of it was.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use ::redis::{FromRedisValue, RedisResult, Value, from_redis_value};
use admission::ports::Cause;

use crate::component::milliseconds;
use crate::local;
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

/// What a stream holds, and what it has held: the answer of `XINFO STREAM`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    /// The first message that is still there.
    oldest: Option<Id>,
    /// The last message that is still there.
    pub(super) newest: Option<Id>,
    /// The last id that was given out, whether its message is still there or not.
    last: Id,
    /// How many messages are there.
    length: u64,
    /// How many were ever written; servers before Redis 7.0 do not say.
    written: Option<u64>,
}

impl Extent {
    /// A stream that nobody has written to.
    const NONE: Self = Self {
        oldest: None,
        newest: None,
        last: Id::START,
        length: 0,
        written: Some(0),
    };

    pub(super) fn read(answer: RedisResult<HashMap<String, Value>>) -> Result<Self, Cause> {
        match answer {
            Ok(mut fields) => {
                Self::of(&mut fields).ok_or_else(|| Cause::new("redis: unexpected XINFO STREAM"))
            }
            Err(error) if error.detail() == Some("no such key") => Ok(Self::NONE),
            Err(error) => Err(local::cause(format!("redis: XINFO STREAM: {error}"), &error)),
        }
    }

    fn of(fields: &mut HashMap<String, Value>) -> Option<Self> {
        let mut field = |name: &str| fields.remove(name);
        Some(Self {
            oldest: entry(field("first-entry")?)?,
            newest: entry(field("last-entry")?)?,
            last: Id::parse(&value::<String>(field("last-generated-id")?)?).ok()?,
            length: value(field("length")?)?,
            written: field("entries-added").and_then(value),
        })
    }

    /// How many messages had been written up to `at`; none where that cannot be told.
    fn written_up_to(&self, at: Id) -> Option<u64> {
        let everything_lies_behind = self.oldest.is_none_or(|oldest| oldest > at);
        match self.written {
            Some(written) if at == self.last => Some(written),
            Some(written) if everything_lies_behind => Some(written.saturating_sub(self.length)),
            _ => None,
        }
    }
}

fn value<T: FromRedisValue>(value: Value) -> Option<T> {
    from_redis_value(value).ok()
}

/// The id of an entry; the inner none where there is no entry.
fn entry(entry: Value) -> Option<Option<Id>> {
    let entry: Option<(String, Value)> = value(entry)?;
    entry
        .map(|(id, _)| Id::parse(&id).ok())
        .map_or(Some(None), |id| Some(Some(id?)))
}

/// Whether reading goes on where it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Nothing lies between.
    Continues,
    /// Messages may have come and gone unread.
    MessagesMayBeLost,
}

/// On which connection one looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Connection {
    /// The first look on it.
    New,
    /// A later one.
    Same,
}

/// How far one stream has been read.
#[derive(Debug)]
pub(super) struct Cursor {
    pub(super) stream: Stream,
    /// Whether a snapshot is needed before what was read is the whole truth.
    pub(super) incomplete: bool,
    at: Option<Id>,
    /// How many messages had been written up to there; none where that is not known.
    written: Option<u64>,
}

impl Cursor {
    pub(super) fn new(stream: Stream) -> Self {
        Self {
            stream,
            incomplete: true,
            at: None,
            written: None,
        }
    }

    /// The last message that was read.
    pub(super) fn at(&self) -> Id {
        self.at.unwrap_or(Id::START)
    }

    pub(super) fn advance(&mut self, id: Id) {
        self.at = Some(id);
        self.written = self.written.map(|written| written + 1);
    }

    /// Compares what was read with what the stream holds now, on the same connection as before or on a new one.
    ///
    /// The ids alone do not tell whether a trimmed message was read before; how many were written does. Only on a new
    /// connection that is not enough: the server may have lost everything and begun to count anew.
    pub(super) fn locate(&mut self, extent: &Extent, backlog: Id, connection: Connection) -> Progress {
        let Some(at) = self.at else {
            let at = match self.stream {
                Stream::Revocations => extent.last.min(backlog),
                // The database holds what these announced before.
                Stream::Agents | Stream::Delegations | Stream::Keys => extent.last,
            };
            (self.at, self.written) = (Some(at), extent.written_up_to(at));
            return Progress::Continues;
        };
        if extent.last < at {
            // Another stream under the same name: its ids say nothing about ours.
            (self.at, self.written) = (Some(Id::START), extent.written_up_to(Id::START));
            self.incomplete = true;
            return Progress::MessagesMayBeLost;
        }
        let written = extent.written_up_to(at);
        let nothing_read_is_left = extent.oldest.is_some_and(|oldest| oldest > at);
        let lost = match (self.written, written) {
            (Some(read), Some(written)) => {
                written != read || nothing_read_is_left && connection == Connection::New
            }
            // Trimming takes the oldest first: a message that was read is left, and so is all that followed.
            (Some(_), None) if extent.written.is_some() => false,
            _ => nothing_read_is_left,
        };
        self.written = written.or(self.written);
        if lost {
            self.incomplete = true;
            return Progress::MessagesMayBeLost;
        }
        Progress::Continues
    }
}

#[cfg(test)]
mod tests;
