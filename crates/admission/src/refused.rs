//! The end of a walk that was refused.

use crate::cause::Cause;
use crate::denial::Denial;

/// A refused request: what the caller is told, and what only the log learns. Whose request it was
/// is in its journal.
#[derive(Debug)]
pub struct Refused {
    /// The refusal, which alone decides the answer.
    pub denial: Denial,
    /// What happened inside. For the log only.
    pub cause: Option<Cause>,
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
    /// A refusal that says all there is to say.
    #[must_use]
    pub fn new(denial: Denial) -> Self {
        Self {
            denial,
            cause: None,
            sts: None,
        }
    }

    /// The status of the answer: the STS's own, where its words are passed on.
    #[must_use]
    pub fn status(&self) -> u16 {
        let own = self.denial.row().status.as_u16();
        self.sts.as_ref().map_or(own, |sts| sts.status)
    }

    /// A refusal with its internal cause.
    #[must_use]
    pub fn because(denial: Denial, cause: Cause) -> Self {
        Self {
            cause: Some(cause),
            ..Self::new(denial)
        }
    }
}

impl From<Denial> for Refused {
    fn from(denial: Denial) -> Self {
        Self::new(denial)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusal_has_the_status_of_its_row_or_of_the_sts() {
        let mut refused = Refused::because(Denial::Overloaded, Cause::local("no descriptors"));
        assert_eq!(refused.status(), 503);
        let cause = refused.cause.as_ref().unwrap();
        assert_eq!(
            (cause.to_string().as_str(), cause.is_local()),
            ("no descriptors", true)
        );
        assert!(!Cause::new("connection refused").is_local());
        refused.sts = Some(StsRefusal {
            status: 403,
            error: String::new(),
            description: String::new(),
        });
        assert_eq!(refused.status(), 403);
    }
}
