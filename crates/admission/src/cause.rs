//! Why something failed inside, in words.

use std::fmt;

/// An internal cause. For the log only, never for the caller.
///
/// It must not contain a token, a key or a URL with a password.
#[derive(Debug, Clone)]
pub struct Cause(Box<str>);

impl Cause {
    /// A cause in words, which name the wait or the dependency that failed.
    #[must_use]
    pub fn new(words: impl Into<Box<str>>) -> Self {
        Self(words.into())
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
