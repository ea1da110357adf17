//! Why something failed inside, in words.

use std::fmt;

/// An internal cause. For the log only, never for the caller.
///
/// It must not contain a token, a key or a URL with a password.
#[derive(Debug, Clone)]
pub struct Cause {
    words: Box<str>,
    is_local: bool,
    label: Option<&'static str>,
}

impl Cause {
    /// A cause in words, which name the wait or the dependency that failed.
    #[must_use]
    pub fn new(words: impl Into<Box<str>>) -> Self {
        let words = words.into();
        Self {
            words,
            is_local: false,
            label: None,
        }
    }

    /// A cause that lies in this process: it lacks descriptors, memory or local ports. It says
    /// nothing about the other end, and is never counted against it.
    #[must_use]
    pub fn local(words: impl Into<Box<str>>) -> Self {
        let words = words.into();
        Self {
            words,
            is_local: true,
            label: None,
        }
    }

    /// The same, with a name that anybody may see.
    #[must_use]
    pub fn labelled(self, label: &'static str) -> Self {
        let label = Some(label);
        Self { label, ..self }
    }

    /// Its name, where it has one that anybody may see.
    #[must_use]
    pub fn label(&self) -> Option<&'static str> {
        self.label
    }

    /// Whether it lies in this process.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.is_local
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}
