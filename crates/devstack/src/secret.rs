//! Text that must not be printed by accident.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::{constant_time, rand};
use data_encoding::HEXLOWER;

use crate::Error;

/// A secret text. Its `Debug` is redacted and it cannot be displayed, compared with `==`
/// or serialised; [`Secret::expose`] is the only way to the text.
#[derive(Clone)]
pub struct Secret(Arc<str>);

impl Secret {
    /// Wraps a text.
    #[must_use]
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// 32 random bytes as 64 lower-case hexadecimal characters.
    ///
    /// # Errors
    /// [`Error::Crypto`] when the system has no randomness.
    pub fn random() -> Result<Self, Error> {
        let mut bytes = [0; 32];
        rand::fill(&mut bytes)?;
        Ok(Self(HEXLOWER.encode(&bytes).into()))
    }

    /// The text itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Compares in constant time.
    pub(crate) fn matches(&self, presented: &str) -> bool {
        constant_time::verify_slices_are_equal(self.0.as_bytes(), presented.as_bytes()).is_ok()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_hides_the_text() {
        let secret = Secret::random().unwrap();
        assert_eq!(format!("{secret:?}"), "Secret(redacted)");
        assert_eq!(HEXLOWER.decode(secret.expose().as_bytes()).unwrap().len(), 32);
        assert!(secret.matches(secret.expose()));
        assert!(!secret.matches("other"));
    }
}
