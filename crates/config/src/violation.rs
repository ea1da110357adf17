//! What can be wrong with the environment, one line each. No text ever contains a secret's value.

use std::fmt;

use admission::mode::UnknownMode;

use crate::identity::IdentityError;
use crate::keys::Key;
use crate::secret::HmacKey;

/// Written before every line when violations are printed.
pub const PREFIX: &str = "gateway config: ";

/// One rule that the environment breaks. Its `Display` is one line that names the variable and the fix.
///
/// What was found in a variable is only ever shown as a [`Quoted`], and only where it is not a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// The mode's name is unknown.
    #[error("{0}")]
    UnknownMode(#[from] UnknownMode),
    /// `CARACAL_ENV` and its alias contradict each other.
    #[error("CARACAL_ENV={env} and CARACAL_MODE={alias} disagree; set only one of them")]
    ModesDisagree {
        /// What `CARACAL_ENV` says.
        env: Quoted,
        /// What `CARACAL_MODE` says.
        alias: Quoted,
    },
    /// A rule of certain variables, in its own words.
    #[error("{0}")]
    Rule(&'static str),
    /// What holds for a variable, in words that follow its name.
    #[error("{0} {1}")]
    Variable(&'static str, &'static str),
    /// A required variable is missing; what to set it to.
    #[error("{0} is required; {1}")]
    Missing(&'static str, String),
    /// A value that its variable does not take.
    #[error("invalid {kind} for {name}: {value} (use {expected})")]
    Invalid {
        /// What it should be.
        kind: &'static str,
        /// The variable.
        name: &'static str,
        /// What it holds.
        value: Quoted,
        /// What it may hold.
        expected: String,
    },
    /// A size below what can work.
    #[error("{0} must be at least {1}")]
    TooSmall(&'static str, u64),
    /// A secret's text has the wrong form; a well-formed one. The value is not shown.
    #[error("{0} is malformed; it must look like {1}")]
    MalformedSecret(&'static str, &'static str),
    /// A parameter of `DATABASE_URL`, and what holds for it.
    #[error("DATABASE_URL: the parameter {0} {1}")]
    DatabaseParameter(String, &'static str),
    /// A key is not hexadecimal, or too short.
    #[error(
        "{0} must be hex-encoded with at least {min} bytes; make one with `openssl rand -hex {min}`",
        min = HmacKey::MIN_BYTES
    )]
    WeakKey(&'static str),
    /// A secret is given twice.
    #[error("{0} and {0}_FILE are both set; keep one")]
    SecretTwice(&'static str),
    /// Why a secret's file cannot be used. The path is not shown: a secret put there by mistake would be.
    #[error("{0}_FILE: the file it names {1}")]
    SecretFile(&'static str, String),
    /// One half of a certificate pair is missing.
    #[error("{cert} and {key} must both be set")]
    HalfPair {
        /// The certificate's variable.
        cert: &'static str,
        /// The key's variable.
        key: &'static str,
    },
    /// A certificate or its key cannot be used.
    #[error("{0}")]
    Identity(#[from] IdentityError),
    /// A certificate outside its period of validity: `expired … days ago` or `is not valid for another … days`.
    #[error("{0}: the certificate {1}; renew it")]
    CertificatePeriod(&'static str, String),
    /// A directory whose files cannot be listed.
    #[error("{0}: the directory cannot be read: {1}")]
    Directory(&'static str, std::io::ErrorKind),
    /// A pair of certificate and key in a directory, and what is wrong with it.
    #[error("{0}: in the pair {1}, {2}")]
    Pair(&'static str, Quoted, Box<Violation>),
    /// A name that two certificates hold: the name, and the other pair.
    #[error(".crt is for {0}, and so is that of the pair {1}; keep one of them")]
    NameTwice(Quoted, Quoted),
    /// Certificate authorities for a connection that the URL makes in plain text.
    #[error("{name} is set but {url} does not use TLS; change the URL's scheme or unset {name}")]
    TlsWithoutTls {
        /// The variable that asks for TLS.
        name: &'static str,
        /// The URL's variable.
        url: &'static str,
    },
    /// A lower bound above its upper one.
    #[error("{low} must not be greater than {high}")]
    Bounds {
        /// The lower bound's variable.
        low: &'static str,
        /// The upper bound's variable.
        high: &'static str,
    },
}

impl Violation {
    /// `expected` completes "use …".
    pub(crate) fn invalid(kind: &'static str, key: &Key, value: &str, expected: impl Into<String>) -> Self {
        Self::Invalid {
            kind,
            name: key.name,
            value: Quoted::new(value),
            expected: expected.into(),
        }
    }
}

/// A value as found, escaped and shortened so that it cannot forge a line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quoted(String);

impl Quoted {
    const MAX_CHARS: usize = 80;

    pub(crate) fn new(value: &str) -> Self {
        Self(value.chars().take(Self::MAX_CHARS).collect())
    }
}

impl From<&str> for Quoted {
    fn from(value: &str) -> Self {
        Self::new(value)
    }
}

impl fmt::Display for Quoted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// Every violation of one environment, in the order of the variables. Never empty.
///
/// `Display` yields one line each, with [`PREFIX`], without a final newline. The process that prints
/// them exits with status 78 (`EX_CONFIG`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violations(Vec<Violation>);

impl Violations {
    pub(crate) fn new(violations: Vec<Violation>) -> Self {
        Self(violations)
    }

    /// The violations one by one.
    pub fn iter(&self) -> std::slice::Iter<'_, Violation> {
        self.0.iter()
    }

    /// The violations without the prefix, in one line.
    #[must_use]
    pub fn in_one_line(&self) -> String {
        self.0
            .iter()
            .map(Violation::to_string)
            .collect::<Vec<_>>()
            .join("; ")
    }
}

impl fmt::Display for Violations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, violation) in self.0.iter().enumerate() {
            let separator = if i == 0 { "" } else { "\n" };
            write!(f, "{separator}{PREFIX}{violation}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Violations {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_cannot_forge_a_line_or_flood_the_log() {
        let quoted = Quoted::new("a\ngateway config: forged\u{1b}[31m").to_string();
        assert_eq!(quoted, r#""a\ngateway config: forged\u{1b}[31m""#);
        assert_eq!(
            Quoted::new(&"x".repeat(10_000)).to_string().len(),
            Quoted::MAX_CHARS + 2
        );
    }
}
