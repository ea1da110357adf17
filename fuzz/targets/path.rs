//! The traversal predicate: total, and never laxer than splitting the path as it stands, and as it
//! stands after one and after two decodings.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|path: &[u8]| {
    if admission::traversal::judge(path).is_err() {
        return;
    }
    let mut layer = path.to_vec();
    for decodings in 0..3 {
        assert!(
            !layer.iter().any(|byte| byte.is_ascii_control() || *byte == b'\\'),
            "a control byte or a backslash passed {decodings} decodings"
        );
        for part in layer.split(|byte| *byte == b'/') {
            let name = part.split(|byte| *byte == b';').next();
            assert!(
                !matches!(name, Some(b"." | b"..")),
                "a dot part passed {decodings} decodings"
            );
        }
        layer = decode(&layer);
    }
});

/// One percent-decoding, written for its plainness.
fn decode(layer: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::new();
    let mut at = 0;
    while let Some(&byte) = layer.get(at) {
        let escape = layer.get(at + 1..at + 3).filter(|_| byte == b'%');
        let value = escape
            .filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        decoded.push(value.unwrap_or(byte));
        at += if value.is_some() { 3 } else { 1 };
    }
    decoded
}
