//! Why there is no response, and whether the request may have left.

use std::fmt;

use admission::ports::Cause;

/// A request got no response head.
#[derive(Debug)]
pub enum SendFailure {
    /// No connection could be made.
    Connect(Cause),
    /// There was a connection, but certainly no byte of the request left on it.
    NotSent(Cause),
    /// The connection failed when bytes of the request may have left.
    MaybeSent(Cause),
}

impl SendFailure {
    /// The cause, for the log.
    #[must_use]
    pub fn cause(&self) -> &Cause {
        match self {
            Self::Connect(cause) | Self::NotSent(cause) | Self::MaybeSent(cause) => cause,
        }
    }
}

impl fmt::Display for SendFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause().fmt(f)
    }
}

impl std::error::Error for SendFailure {}

/// An error with everything below it, in words. None of the libraries here puts bytes of the
/// message into its errors.
pub(crate) fn in_words(what: &str, error: &dyn std::error::Error) -> Cause {
    let mut words = format!("{what}: {error}");
    let mut source = error.source();
    while let Some(error) = source {
        words.push_str(": ");
        words.push_str(&error.to_string());
        source = error.source();
    }
    Cause::new(words)
}
