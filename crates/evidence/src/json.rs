//! JSON text, written straight into a buffer.

use std::io::Write as _;

use data_encoding::HEXLOWER;

/// The most bytes one string value takes between its quotes. Longer values are cut between two characters:
/// an event has a bounded size whatever a database or a token holds.
pub(crate) const MAX_VALUE_BYTES: usize = 512;

/// Appends `"key":`, after a comma unless it is the first of its object.
pub(crate) fn key(out: &mut Vec<u8>, key: &str) {
    if out.last() != Some(&b'{') {
        out.push(b',');
    }
    out.push(b'"');
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b"\":");
}

/// Appends a member whose value is text.
pub(crate) fn text(out: &mut Vec<u8>, name: &str, value: &str) {
    key(out, name);
    out.push(b'"');
    escape(out, value);
    out.push(b'"');
}

/// Appends a member whose value is text, if there is one.
pub(crate) fn maybe_text(out: &mut Vec<u8>, name: &str, value: Option<&str>) {
    if let Some(value) = value {
        text(out, name, value);
    }
}

/// Appends a member whose value is a number, if there is one.
pub(crate) fn maybe_number(out: &mut Vec<u8>, name: &str, value: Option<u64>) {
    if let Some(value) = value {
        key(out, name);
        number(out, value);
    }
}

/// Appends a member that is true or false.
pub(crate) fn flag(out: &mut Vec<u8>, name: &str, value: bool) {
    key(out, name);
    out.extend_from_slice(if value { b"true" } else { b"false" });
}

/// Appends a number in decimal.
pub(crate) fn number(out: &mut Vec<u8>, value: u64) {
    // Writing to a buffer in memory cannot fail.
    let _ = write!(out, "{value}");
}

/// Appends a string's content, escaped (RFC 8259 §7). NUL becomes U+FFFD: the audit database cannot hold one,
/// not even escaped, and would refuse the whole event.
fn escape(out: &mut Vec<u8>, value: &str) {
    // Looks at every byte, and so at several at once.
    let is_plain = || value.bytes().fold(true, |all, byte| all & plain(byte));
    if value.len() <= MAX_VALUE_BYTES && is_plain() {
        out.extend_from_slice(value.as_bytes());
        return;
    }
    let limit = out.len() + MAX_VALUE_BYTES;
    let mut utf8 = [0; 4];
    for character in value.chars() {
        let mut escaped = [b'\\', b'u', b'0', b'0', 0, 0];
        let piece: &[u8] = match character {
            '"' => b"\\\"",
            '\\' => b"\\\\",
            '\n' => b"\\n",
            '\r' => b"\\r",
            '\t' => b"\\t",
            '\0' => "\u{fffd}".as_bytes(),
            '\u{1}'..'\u{20}' => {
                HEXLOWER.encode_mut(&[u8::try_from(character).unwrap_or_default()], &mut escaped[4..]);
                &escaped
            }
            _ => character.encode_utf8(&mut utf8).as_bytes(),
        };
        if out.len() + piece.len() > limit {
            return;
        }
        out.extend_from_slice(piece);
    }
}

fn plain(byte: u8) -> bool {
    byte >= 0x20 && byte != b'"' && byte != b'\\'
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{MAX_VALUE_BYTES, number, text};

    fn written(value: &str) -> String {
        let mut out = b"{".to_vec();
        text(&mut out, "v", value);
        out.push(b'}');
        String::from_utf8(out).unwrap()
    }

    fn read(json: &str) -> String {
        let value: serde_json::Value = serde_json::from_str(json).unwrap();
        value["v"].as_str().unwrap().to_owned()
    }

    #[test]
    fn nul_is_replaced_and_never_escaped() {
        assert_eq!(written("a\0b"), "{\"v\":\"a\u{fffd}b\"}");
    }

    #[test]
    fn long_values_are_cut_between_characters() {
        let cut = read(&written(&"é".repeat(MAX_VALUE_BYTES)));
        assert_eq!(cut, "é".repeat(MAX_VALUE_BYTES / 2));
        assert_eq!(
            read(&written(&"\"".repeat(MAX_VALUE_BYTES))).len(),
            MAX_VALUE_BYTES / 2
        );
    }

    #[test]
    fn numbers_are_decimal() {
        for value in [0, 7, 10, 4096, u64::MAX] {
            let mut out = Vec::new();
            number(&mut out, value);
            assert_eq!(String::from_utf8(out).unwrap(), value.to_string());
        }
    }

    proptest! {
        #[test]
        fn any_text_reads_back(value in "\\PC{0,60}|[\\x00-\\x7f]{0,80}") {
            let json = written(&value);
            prop_assert!(!json.contains('\0') && !json.contains("\\u0000"));
            prop_assert_eq!(read(&json), value.replace('\0', "\u{fffd}"));
        }
    }
}
