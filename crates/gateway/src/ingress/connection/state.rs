//! What a connection is doing, and how far one of its responses is taken: an enum each, and every
//! change of them a function here.

use std::time::{Duration, Instant};

use super::TimeLimits;

/// After so long without a byte of a request the library is given up, and the buffers that it keeps with it. Shorter, it
/// would be made anew for many a request; longer, more connections would hold buffers that the next one could have.
pub(super) const REST_AFTER: Duration = Duration::from_millis(100);

/// Why a connection, or a stream of it, was ended before its responses were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The caller reset its connection, or nothing can be written to it any more.
    CallerLeft,
    /// The caller did not take the response within `WRITE_TIMEOUT`.
    WriteTimeout,
    /// The authority that the response rests on was revoked while the caller did not take it.
    Revoked,
    /// The process stopped, and its grace was over.
    Stopped,
    /// The response broke off.
    Broken,
}

/// How much of a request body the HTTP library is still to be given (HTTP/1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyLeft {
    /// So many bytes (`Content-Length`, RFC 9112 §6.2); none where there is no body.
    Length(u64),
    /// Chunks. Whether what was given ends like the last of them, with an empty line (RFC 9112 §7.1).
    Chunks {
        /// See above.
        at_end: bool,
    },
    /// Nothing; and bytes of the next head were given already.
    Passed,
}

/// The request in flight on an HTTP/1 connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exchange {
    /// What the library is still to be given of its body.
    pub(super) body: BodyLeft,
    /// When its fixed-length response must have been written.
    pub(super) write_by: Option<Instant>,
    /// Its response ends before it was read to its end.
    pub(super) is_unread: bool,
    /// The caller takes the end of the connection for the end of the response (HTTP/1.0), so a
    /// response that breaks off must end in a reset.
    pub(super) needs_reset: bool,
}

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConnectionState {
    /// HTTP/1: nothing of a request has arrived since then.
    Idle {
        /// When the last response ended, or the connection was accepted.
        since: Instant,
    },
    /// HTTP/1: a request head is arriving.
    Head {
        /// When its first byte arrived.
        since: Instant,
    },
    /// HTTP/1: a request is in flight.
    Busy(Exchange),
    /// HTTP/1: a response is written whose request was not read to its end, head or body. The library is told that nothing more comes, so
    /// that it ends the connection, and what the caller still sends is read for nothing.
    Draining {
        /// When the response ended.
        since: Instant,
    },
    /// HTTP/2: so many streams are open.
    Multiplexed {
        /// How many.
        open: usize,
        /// When this last changed.
        since: Instant,
    },
    /// It was ended.
    Ended {
        /// Why.
        why: Ending,
        /// Whether the caller must see a reset.
        needs_reset: bool,
    },
}

/// What happens to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// The caller speaks HTTP/2 (RFC 9113 §3.4).
    Http2(Instant),
    /// The library was given bytes.
    Given {
        /// When.
        now: Instant,
        /// How many.
        bytes: u64,
        /// Whether they end with an empty line.
        ends_with_empty_line: bool,
    },
    /// A request head is complete; over HTTP/2, at this time.
    Request(Exchange, Instant),
    /// A fixed-length response begins, which must be written by then.
    FixedLength(Instant),
    /// The head that is arriving is longer than it may be.
    HeadTooLarge(Instant),
    /// The response ends before its request was read to the end.
    Unread,
    /// The request and its response are over.
    Over(Instant),
    /// The connection is ended.
    End(Ending),
}

impl ConnectionState {
    /// The state after this event. An event that has no meaning in a state changes nothing.
    #[must_use]
    pub(super) fn after(self, event: Event) -> Self {
        match (self, event) {
            (Self::Ended { .. }, _) => self,
            (Self::Busy(exchange), Event::End(why)) => Self::Ended {
                why,
                needs_reset: exchange.needs_reset,
            },
            (_, Event::End(why)) => Self::Ended {
                why,
                needs_reset: false,
            },
            (Self::Multiplexed { open, .. }, Event::Request(_, since)) => Self::Multiplexed {
                open: open + 1,
                since,
            },
            (Self::Multiplexed { open, .. }, Event::Over(since)) => Self::Multiplexed {
                open: open.saturating_sub(1),
                since,
            },
            (Self::Multiplexed { .. }, _) => self,
            (_, Event::Http2(since)) => Self::Multiplexed { open: 0, since },
            (_, Event::Request(exchange, _)) => Self::Busy(exchange),
            (Self::Idle { .. }, Event::Given { now, bytes: 1.., .. }) => Self::Head { since: now },
            (Self::Idle { .. } | Self::Head { .. }, Event::HeadTooLarge(since)) => Self::Draining { since },
            (Self::Busy(exchange), event) => exchange.after(event),
            (Self::Idle { .. } | Self::Head { .. } | Self::Draining { .. }, _) => self,
        }
    }

    /// Whether it carries one request at a time.
    #[must_use]
    pub(super) fn is_http1(self) -> bool {
        !matches!(self, Self::Multiplexed { .. })
    }

    /// From when on the connection needs no library until the next request begins.
    #[must_use]
    pub(super) fn rests_from(self) -> Option<Instant> {
        match self {
            Self::Idle { since } => Some(since + REST_AFTER),
            Self::Head { .. }
            | Self::Busy(_)
            | Self::Draining { .. }
            | Self::Multiplexed { .. }
            | Self::Ended { .. } => None,
        }
    }

    /// Until when the caller may keep the connection waiting for bytes.
    #[must_use]
    pub(super) fn read_deadline(self, limits: &TimeLimits) -> Option<Instant> {
        match self {
            Self::Idle { since } | Self::Draining { since } | Self::Multiplexed { open: 0, since } => {
                Some(since + limits.idle)
            }
            Self::Head { since } => Some(since + limits.head),
            Self::Busy(_) | Self::Multiplexed { .. } | Self::Ended { .. } => None,
        }
    }
}

impl Exchange {
    fn after(mut self, event: Event) -> ConnectionState {
        match event {
            Event::FixedLength(by) => self.write_by = Some(by),
            Event::Unread => self.is_unread = true,
            Event::Given {
                bytes,
                ends_with_empty_line,
                ..
            } => {
                self.body = match self.body {
                    BodyLeft::Length(left) if bytes <= left => BodyLeft::Length(left - bytes),
                    BodyLeft::Length(_) | BodyLeft::Passed => BodyLeft::Passed,
                    BodyLeft::Chunks { .. } => BodyLeft::Chunks {
                        at_end: ends_with_empty_line,
                    },
                }
            }
            Event::Over(since) if self.is_unread => return ConnectionState::Draining { since },
            Event::Over(since) => {
                return match self.body {
                    BodyLeft::Length(_) | BodyLeft::Chunks { at_end: true } => {
                        ConnectionState::Idle { since }
                    }
                    BodyLeft::Chunks { at_end: false } | BodyLeft::Passed => ConnectionState::Head { since },
                };
            }
            Event::Http2(_) | Event::Request(..) | Event::HeadTooLarge(_) | Event::End(_) => {}
        }
        ConnectionState::Busy(self)
    }
}

/// How far the response on a stream of an HTTP/2 connection is taken. A stream whose window is shut
/// stalls without the connection's writes stalling, and without its body being polled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delivery {
    /// Everything that was handed over is taken.
    Taken,
    /// Something is not.
    Offered {
        /// How many pieces.
        pieces: usize,
        /// When one was last handed over or taken.
        since: Instant,
    },
    /// The stream was ended.
    Ended(Ending),
}

impl Delivery {
    /// A piece is handed over.
    #[must_use]
    pub(super) fn hand_over(self, since: Instant) -> Self {
        match self {
            Self::Taken => Self::Offered { pieces: 1, since },
            Self::Offered { pieces, .. } => Self::Offered {
                pieces: pieces + 1,
                since,
            },
            Self::Ended(_) => self,
        }
    }

    /// A piece is taken, or will never be given.
    #[must_use]
    pub(super) fn take(self, since: Instant) -> Self {
        match self {
            Self::Offered { pieces, .. } if pieces > 1 => Self::Offered {
                pieces: pieces - 1,
                since,
            },
            Self::Offered { .. } | Self::Taken => Self::Taken,
            Self::Ended(_) => self,
        }
    }

    /// The stream is ended; the first reason stands.
    #[must_use]
    pub(super) fn end(self, why: Ending) -> Self {
        match self {
            Self::Ended(_) => self,
            Self::Taken | Self::Offered { .. } => Self::Ended(why),
        }
    }

    /// Until when the caller must take the next piece.
    #[must_use]
    pub(super) fn deadline(self, write: Duration) -> Option<Instant> {
        match self {
            Self::Offered { since, .. } => Some(since + write),
            Self::Taken | Self::Ended(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
