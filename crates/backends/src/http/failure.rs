//! Why there is no response, and whether the request may have left.

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

/// An error with everything below it, in words. None of the libraries here puts bytes of the message into its errors.
pub(crate) fn in_words(what: &str, error: &(dyn std::error::Error + 'static)) -> Cause {
    let mut words = what.to_owned();
    for error in std::iter::successors(Some(error), |&error| error.source()) {
        words.push_str(": ");
        words.push_str(&error.to_string());
    }
    local::cause(words, error)
}
