//! Signatures of the stack's services, made independently of the gateway.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::fmt::Write as _;

/// Lower-case hexadecimal HMAC-SHA256 under a key given in hexadecimal.
pub(crate) fn hmac_sha256_hex(key: &str, message: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, &unhex(key));
    hex(hmac::sign(&key, message).as_ref())
}

/// The `_sig` of a stream message: the stream's name, then every field sorted by name, one line each.
pub(crate) fn stream_signature(key: &str, stream: &str, fields: &[(&str, &str)]) -> String {
    let mut sorted = fields.to_vec();
    sorted.sort_unstable();
    let mut text = format!("{stream}\n");
    for (name, value) in sorted {
        writeln!(text, "{name}={value}").expect("a string grows");
    }
    hmac_sha256_hex(key, text.as_bytes())
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string grows");
        text
    })
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal"))
        .collect()
}

/// Decodes base64url without padding.
pub(crate) fn unbase64url(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).expect("base64url")
}

#[test]
fn stream_signature_is_that_of_the_shared_vectors() {
    let vectors: serde_json::Value = testkit::vectors::load("streams");
    let mut seen = 0;
    for case in vectors["cases"].as_array().expect("cases") {
        let fields = case["fields"].as_object().expect("fields");
        let fields: Vec<_> = fields
            .iter()
            .filter(|(name, _)| *name != "_sig")
            .map(|(name, value)| (name.as_str(), value.as_str().expect("text")))
            .collect();
        let key = vectors["key_hex"].as_str().expect("a key");
        let stream = case["stream"].as_str().expect("a stream");
        let expect = case["sig"].as_str().expect("a signature");
        assert_eq!(stream_signature(key, stream, &fields), expect, "{stream}");
        seen += 1;
    }
    assert!(seen >= 3);
}
