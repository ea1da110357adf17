//! Percent-encoding (RFC 3986 §2.1).

use std::ops::RangeInclusive;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};

/// Everything but unreserved characters (RFC 3986 §2.3).
pub(crate) const NOT_UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Whether a byte is its own percent-encoding.
pub(crate) fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Whether all bytes are unreserved. Like [`are_within`], it looks at many at once.
pub(crate) fn are_unreserved(bytes: &[u8]) -> bool {
    bytes.iter().fold(true, |all, &byte| {
        let is_letter = (byte | 0x20).wrapping_sub(b'a') < 26;
        let is_digit = byte.wrapping_sub(b'0') < 10;
        let is_mark = (byte == b'-') | (byte == b'.') | (byte == b'_') | (byte == b'~');
        all & (is_letter | is_digit | is_mark)
    })
}

/// Whether all bytes are in the range.
pub(crate) fn are_within(bytes: &[u8], range: &RangeInclusive<u8>) -> bool {
    bytes.iter().fold(true, |all, byte| all & range.contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unreserved_bytes_are_the_same_one_by_one_and_together() {
        for byte in 0..=u8::MAX {
            assert_eq!(are_unreserved(&[b'a', byte, b'9']), is_unreserved(byte), "{byte}");
            assert_eq!(
                are_within(&[b'a', byte], &(b'!'..=b'~')),
                byte.is_ascii_graphic(),
                "{byte}"
            );
        }
    }
}
