//! Text that must not be printed by accident.

use std::fmt;
use std::fmt::Write as _;
use std::sync::Arc;

use aws_lc_rs::{constant_time, rand};

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
        Ok(Self(hex(&bytes).into()))
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

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            let _ = write!(text, "{byte:02x}"); // writing to a String cannot fail
            text
        })
}

/// Decodes hexadecimal of either case.
pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|value| u8::try_from(value).ok())
    };
    pairs
        .iter()
        .map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_hides_the_text() {
        let secret = Secret::random().unwrap();
        assert_eq!(format!("{secret:?}"), "Secret(redacted)");
        assert_eq!(unhex(secret.expose()).unwrap().len(), 32);
        assert!(secret.matches(secret.expose()));
        assert!(!secret.matches("other"));
    }

    #[test]
    fn hexadecimal_of_either_case_is_decoded() {
        assert_eq!(unhex("00fFAa"), Some(vec![0, 0xff, 0xaa]));
        assert_eq!(unhex("0"), None);
        assert_eq!(unhex("0g"), None);
        assert_eq!(hex(&[0, 0xff, 0xaa]), "00ffaa");
    }
}
