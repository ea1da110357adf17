//! Looks at every byte of a text, whatever it finds, and so at many at once.

/// Whether it holds for all bytes.
pub(crate) fn all(bytes: &[u8], holds: impl Fn(u8) -> bool) -> bool {
    bytes.iter().fold(true, |all, &byte| all & holds(byte))
}

/// Whether it holds for one of them.
pub(crate) fn any(bytes: &[u8], holds: impl Fn(u8) -> bool) -> bool {
    bytes.iter().fold(false, |any, &byte| any | holds(byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::percent::is_unreserved;

    #[test]
    fn bytes_are_the_same_one_by_one_and_together() {
        for byte in 0..=u8::MAX {
            assert_eq!(
                all(&[b'a', byte, b'9'], is_unreserved),
                is_unreserved(byte),
                "{byte}"
            );
            let is_graphic = |byte: u8| byte.is_ascii_graphic();
            assert_eq!(all(&[b'a', byte], is_graphic), byte.is_ascii_graphic(), "{byte}");
            assert_eq!(any(&[b' ', byte], is_graphic), byte.is_ascii_graphic(), "{byte}");
        }
    }
}
