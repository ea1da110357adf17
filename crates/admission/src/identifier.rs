//! The form of zone and client ids.

/// `[A-Za-z0-9._:-]{1,128}`.
pub(crate) fn is_identifier(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b':' | b'-'))
}
