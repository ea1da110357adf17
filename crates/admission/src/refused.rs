//! The end of a walk that was refused.

use crate::denial::Denial;
use crate::ports::Cause;
use crate::subject::Subject;

/// A refused request: what the caller is told, and what only the log and the evidence learn.
#[derive(Debug)]
pub struct Refused {
    /// The refusal, which alone decides the answer.
    pub denial: Denial,
    /// What happened inside. For the log only.
    pub cause: Option<Cause>,
    /// Whose request it was, known only once the signature held.
    pub subject: Option<Box<Subject>>,
    /// The STS's own words, with [`Denial::ExchangeRefused`].
    pub sts: Option<StsRefusal>,
}

/// What the STS said when it refused an exchange. Every other member of its answer is dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StsRefusal {
    /// Its status, 400 to 599.
    pub status: u16,
    /// Its `error`.
    pub error: String,
    /// Its `error_description`.
    pub description: String,
}

impl Refused {
    /// A refusal of a request whose signature was not verified: nobody vouches for its subject.
    pub(crate) fn unverified(denial: Denial) -> Self {
        Self {
            denial,
            cause: None,
            subject: None,
            sts: None,
        }
    }

    /// Adds the internal cause.
    pub(crate) fn because(mut self, cause: Cause) -> Self {
        self.cause = Some(cause);
        self
    }
}
