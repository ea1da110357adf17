//! What can be wrong with the environment, one line each. No text ever contains a secret's value.

use std::fmt;

use admission::mode::UnknownMode;

use crate::identity::IdentityError;
use crate::secret::HmacKey;

/// Written before every line when violations are printed.
pub const PREFIX: &str = "gateway config: ";

/// One rule that the environment breaks. Its `Display` is one line that names the variable and the fix.
///
/// The `name` fields hold variable names; `value` holds what was found in a variable that is not a secret.
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
    /// Embedded backends were asked for outside development.
    #[error("embedded backends need CARACAL_ENV=dev; use `caracal-gateway serve` in production")]
    EmbeddedInProduction,
    /// A required variable is missing.
    #[error("{name} is required; {fix}")]
    Missing {
        /// The variable.
        name: &'static str,
        /// What to set it to.
        fix: String,
    },
    /// A flag that only development may use.
    #[error("{0} is forbidden when CARACAL_ENV=production; unset it or set it to false")]
    Forbidden(&'static str),
    /// A size below what can work.
    #[error("{name} must be at least {least}")]
    TooSmall {
        /// The variable.
        name: &'static str,
        /// The least value.
        least: u64,
    },
    /// A value is not text.
    #[error("{0} is not valid UTF-8; set it to plain text")]
    NotUnicode(&'static str),
    /// A duration that Go's grammar refuses, or one that is not positive.
    #[error("invalid duration for {name}: {value} ({expected})")]
    Duration {
        /// The variable.
        name: &'static str,
        /// What it holds.
        value: Quoted,
        /// What it may hold.
        expected: &'static str,
    },
    /// A boolean that Go's `ParseBool` refuses.
    #[error("invalid boolean for {name}: {value} (use true or false)")]
    Boolean {
        /// The variable.
        name: &'static str,
        /// What it holds.
        value: Quoted,
    },
    /// An integer that is not positive, or too large.
    #[error("invalid integer for {name}: {value} (use a whole number from 1 to {max})")]
    Integer {
        /// The variable.
        name: &'static str,
        /// What it holds.
        value: Quoted,
        /// The largest value.
        max: u64,
    },
    /// Any other value that its variable does not take.
    #[error("invalid value for {name}: {value} (use {expected})")]
    Value {
        /// The variable.
        name: &'static str,
        /// What it holds.
        value: Quoted,
        /// What it may hold.
        expected: String,
    },
    /// A secret's text has the wrong form. The value is not shown.
    #[error("{name} is malformed; it must look like {example}")]
    MalformedSecret {
        /// The variable.
        name: &'static str,
        /// A well-formed value.
        example: &'static str,
    },
    /// `sslmode` has a value that libpq does not know either. It is not shown: it is a piece of a secret.
    #[error("{0}: sslmode must be disable, allow, prefer, require, verify-ca or verify-full")]
    SslMode(&'static str),
    /// A key is not hexadecimal.
    #[error(
        "{0} must be hex-encoded with at least {min} bytes; make one with `openssl rand -hex {min}`",
        min = HmacKey::MIN_BYTES
    )]
    WeakKey(&'static str),
    /// A secret is given twice.
    #[error("{name} and {name}_FILE are both set; keep one")]
    SecretTwice {
        /// The variable.
        name: &'static str,
    },
    /// A secret's file cannot be used. The path is not shown: a secret put there by mistake would be.
    #[error("{name}_FILE: the file it names {problem}")]
    SecretFile {
        /// The variable.
        name: &'static str,
        /// Why not.
        problem: String,
    },
    /// One half of a certificate pair is missing.
    #[error("{cert} and {key} must both be set")]
    HalfPair {
        /// The certificate's variable.
        cert: &'static str,
        /// The key's variable.
        key: &'static str,
    },
    /// The listener has neither a certificate nor permission to do without.
    #[error("TLS_CERT_FILE/TLS_KEY_FILE required; set INSECURE_HTTP=true to run plaintext")]
    CertificateRequired,
    /// A certificate or its key cannot be used.
    #[error("{0}")]
    Identity(#[from] IdentityError),
    /// A certificate outside its period of validity.
    #[error("{name}: the certificate {state}; renew it")]
    CertificatePeriod {
        /// The certificate's variable.
        name: &'static str,
        /// `expired … days ago` or `is not valid for another … days`.
        state: String,
    },
    /// Certificate authorities for a connection that the URL makes in plain text.
    #[error("{name} is set but {url} does not use TLS; change the URL's scheme or unset {name}")]
    TlsWithoutTls {
        /// The variable that asks for TLS.
        name: &'static str,
        /// The URL's variable.
        url: &'static str,
    },
    /// Production listens on one port only.
    #[error("PORT must be 8081 when CARACAL_ENV=production")]
    Port,
    /// A port chosen by the system is for development.
    #[error("OPERATOR_ADDR must name a port when CARACAL_ENV=production")]
    OperatorPort,
    /// The operator's listener collides with the public one.
    #[error("OPERATOR_ADDR must differ from BIND_ADDR and PORT")]
    OperatorOverlap,
    /// `STS_URL` is not an address that the gateway can post to. The value is not shown: it may hold a password.
    #[error("STS_URL {0}")]
    StsUrl(&'static str),
    /// Private upstreams without the list of hosts that makes them safe.
    #[error("UPSTREAM_HOST_ALLOWLIST is required when ALLOW_PRIVATE_UPSTREAMS=true in production")]
    AllowlistRequired,
    /// A duration with a fraction of a second where only whole ones count.
    #[error("{0} must be a whole number of seconds")]
    WholeSeconds(&'static str),
    /// `none` beside other entries of a list.
    #[error("{0}: none must stand alone")]
    NoneAmongOthers(&'static str),
    /// A lower bound above its upper one.
    #[error("{low} must not be greater than {high}")]
    Bounds {
        /// The lower bound's variable.
        low: &'static str,
        /// The upper bound's variable.
        high: &'static str,
    },
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
    pub(crate) fn in_one_line(&self) -> String {
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
