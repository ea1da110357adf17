//! Values that must never be printed.

use std::fmt;

use data_encoding::HEXLOWER_PERMISSIVE;

/// A secret text. It has no `Display` and no `PartialEq`; its `Debug` shows only that it exists.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    pub(crate) fn new(value: String) -> Self {
        Self(value)
    }

    /// The secret itself, for the one call that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

/// A decoded HMAC key. Its `Debug` does not show even the length.
#[derive(Clone)]
pub struct HmacKey(Vec<u8>);

impl HmacKey {
    /// Fewest bytes a key may have in production.
    pub const MIN_BYTES: usize = 32;

    /// Decodes hexadecimal digits of either case; `None` for anything else, also for no digits at all.
    pub(crate) fn from_hex(text: &Secret) -> Option<Self> {
        let bytes = HEXLOWER_PERMISSIVE.decode(text.expose().as_bytes()).ok()?;
        (!bytes.is_empty()).then_some(Self(bytes))
    }

    /// The key's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for HmacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HmacKey(***)")
    }
}

/// The secret of an Ed25519 key. Its `Debug` shows only that it exists.
#[derive(Clone)]
pub struct CheckpointSecret([u8; 32]);

impl CheckpointSecret {
    /// Decodes 64 hexadecimal digits of either case; `None` for anything else.
    pub(crate) fn from_hex(text: &Secret) -> Option<Self> {
        let bytes = HEXLOWER_PERMISSIVE.decode(text.expose().as_bytes()).ok()?;
        bytes.try_into().ok().map(Self)
    }

    /// The secret itself, for the one call that needs it.
    #[must_use]
    pub const fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for CheckpointSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CheckpointSecret(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_of_either_case_is_decoded_and_anything_else_refused() {
        for (text, expect) in [
            ("00ff", Some(&[0x00, 0xff][..])),
            ("00Ff", Some(&[0x00, 0xff][..])),
            ("", None),
            ("0", None),
            ("0x00", None),
            ("zz", None),
            ("00 ff", None),
            ("é0", None),
        ] {
            let key = HmacKey::from_hex(&Secret::new(text.to_owned()));
            assert_eq!(key.as_ref().map(HmacKey::as_bytes), expect, "{text:?}");
        }
    }

    #[test]
    fn debug_shows_nothing_of_the_value() {
        let secret = Secret::new("deadbeef".to_owned());
        let key = HmacKey::from_hex(&secret);
        assert_eq!(format!("{secret:?} {key:?}"), "Secret(***) Some(HmacKey(***))");
    }
}
