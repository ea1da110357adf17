//! Production or development, and the proof that lax options demand.

use std::fmt;

/// How strictly this process runs (decisions §1.1). There is no `Default`:
/// whoever needs a mode must have parsed one.
#[derive(Clone, Copy, Debug)]
pub enum Mode {
    /// Every production rule holds.
    Production,
    /// Development. The enclosed proof opens the lax options.
    Dev(DevOnly),
}

/// Proof that the process was told to run in development mode.
///
/// Every lax option (`JTI_FAIL_OPEN`, plaintext, embedded backends, the dev stack)
/// takes one by value, so none of them can be reached in production. The only maker
/// is [`Mode::parse`] and [`Mode::parse_alias`].
///
/// ```compile_fail
/// let proof = admission::mode::DevOnly { _sealed: () }; // private field
/// ```
///
/// ```
/// use admission::mode::Mode;
/// let Ok(Mode::Dev(_proof)) = Mode::parse("dev") else { unreachable!() };
/// ```
#[derive(Clone, Copy)]
pub struct DevOnly {
    _sealed: (),
}

impl fmt::Debug for DevOnly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DevOnly")
    }
}

/// A mode name that is none of the permitted ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnknownMode {
    /// `CARACAL_ENV` holds something else.
    #[error("CARACAL_ENV must be production or dev")]
    Env,
    /// `CARACAL_MODE` holds something else.
    #[error("CARACAL_MODE must be stable, rc or dev")]
    Alias,
}

impl Mode {
    /// Parses `CARACAL_ENV`: exactly `production` or `dev`.
    ///
    /// # Errors
    /// Anything else, also `prod` and `Production`.
    pub fn parse(value: &str) -> Result<Self, UnknownMode> {
        match value {
            "production" => Ok(Self::Production),
            "dev" => Ok(Self::Dev(DevOnly { _sealed: () })),
            _ => Err(UnknownMode::Env),
        }
    }

    /// Parses `CARACAL_MODE`, the alias that existing installations set:
    /// `stable` and `rc` mean production.
    ///
    /// # Errors
    /// Anything else.
    pub fn parse_alias(value: &str) -> Result<Self, UnknownMode> {
        match value {
            "stable" | "rc" => Ok(Self::Production),
            "dev" => Ok(Self::Dev(DevOnly { _sealed: () })),
            _ => Err(UnknownMode::Alias),
        }
    }

    /// The name as `CARACAL_ENV` spells it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Production => "production",
            Self::Dev(_) => "dev",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_names_are_modes() {
        for (input, expect) in [
            ("production", Some("production")),
            ("dev", Some("dev")),
            ("prod", None),
            ("Production", None),
            ("DEV", None),
            ("", None),
            (" dev", None),
        ] {
            assert_eq!(Mode::parse(input).ok().map(Mode::name), expect, "{input:?}");
        }
        for (input, expect) in [
            ("stable", Some("production")),
            ("rc", Some("production")),
            ("dev", Some("dev")),
            ("production", None),
        ] {
            assert_eq!(Mode::parse_alias(input).ok().map(Mode::name), expect, "{input:?}");
        }
    }
}
