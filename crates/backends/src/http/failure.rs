//! Why there is no response, and whether the request may have left.

use std::fmt;

use admission::ports::Cause;

use crate::local;

/// A request got no response head.
#[derive(Debug)]
pub enum SendFailure {
    /// No connection could be made, for want of something of this process's own: descriptors, memory, local ports.
    Local(Cause),
    /// No connection could be made.
    Connect(Cause),
    /// There was a connection, but certainly no byte of the request left on it.
    NotSent(Cause),
    /// No byte of the request was let out, because its departure could not be recorded.
    Barred(Cause),
    /// The connection failed when bytes of the request may have left.
    MaybeSent(Cause),
    /// There was an answer, which is none that HTTP knows, or whose head is larger than is taken.
    Invalid(Cause),
}

impl SendFailure {
    /// No connection, for this cause.
    pub(crate) fn to_connect(cause: Cause) -> Self {
        if cause.is_local() {
            Self::Local(cause)
        } else {
            Self::Connect(cause)
        }
    }

    /// Whether bytes of the request may have left.
    pub(super) fn may_be_sent(&self) -> bool {
        matches!(self, Self::MaybeSent(_) | Self::Invalid(_))
    }

    /// The cause, for the log.
    #[must_use]
    pub fn cause(&self) -> &Cause {
        match self {
            Self::Local(cause)
            | Self::Connect(cause)
            | Self::NotSent(cause)
            | Self::Barred(cause)
            | Self::MaybeSent(cause)
            | Self::Invalid(cause) => cause,
        }
    }
}

/// An error with everything below it, in words. Of the libraries only that of HTTP/2 puts bytes of the message into its
/// errors: see [`http2_in_words`].
pub(crate) fn in_words(what: &str, error: &(dyn std::error::Error + 'static)) -> Cause {
    let mut words = what.to_owned();
    for error in std::iter::successors(Some(error), |&error| error.source()) {
        words.push_str(": ");
        words.push_str(&error.to_string());
    }
    local::cause(words, error)
}

/// The same for HTTP/2: the reason and who found it, without the words that the peer gave to its GOAWAY (RFC 9113 §6.8).
pub(super) fn http2_in_words(what: &str, error: &h2::Error) -> Cause {
    match (error.get_io(), Http2Reason(error)) {
        (Some(io), _) => in_words(what, io),
        (None, reason) => Cause::new(format!("{what}: {reason}")),
    }
}

/// An error of the HTTP/2 library without what its peer says in it.
pub(super) struct Http2Reason<'a>(pub(super) &'a h2::Error);

impl fmt::Display for Http2Reason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(error) = self;
        let what = match (error.is_go_away(), error.is_reset()) {
            (true, _) => "connection",
            (_, true) => "stream",
            _ => return error.fmt(f),
        };
        let side = if error.is_remote() { "received" } else { "detected" };
        let reason = error.reason().unwrap_or(h2::Reason::NO_ERROR);
        write!(f, "{what} error {side}: {reason}")
    }
}
