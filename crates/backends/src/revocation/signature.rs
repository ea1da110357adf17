//! The signature of stream messages.
//!
//! `_sig` is the lower-case hex HMAC-SHA256 of the stream's name and a line `name=value` per field,
//! sorted by name, each ended by a newline. The form is not injective: with a newline in a value, or
//! a `=` in a name, two messages have one signature. Such a message is told apart here.

use std::collections::BTreeMap;
use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac::{Context, HMAC_SHA256, Key};

const SIGNATURE: &[u8] = b"_sig";

/// `STREAMS_HMAC_KEY`, shared with every producer.
#[derive(Clone)]
pub struct StreamsKey(Key);

impl StreamsKey {
    /// A key of these bytes.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        Self(Key::new(HMAC_SHA256, bytes))
    }
}

impl fmt::Debug for StreamsKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StreamsKey(..)")
    }
}

/// The fields of a message. Of a name that comes twice, the last value counts, for every reader.
pub(super) type Fields<'a> = BTreeMap<&'a [u8], &'a [u8]>;

/// What the signature says about a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Genuine {
    /// A holder of the key wrote it, and it means one thing.
    Yes,
    /// A holder of the key wrote it, or another message with the same canonical form.
    Ambiguous,
    /// It has no signature or a wrong one.
    No,
}

/// Judges the signature of a message, in constant time.
pub(super) fn judge(key: &StreamsKey, stream: &str, fields: &Fields<'_>) -> Genuine {
    let Some(claimed) = fields.get(SIGNATURE).and_then(|hex| unhex(hex)) else {
        return Genuine::No;
    };
    let mut mac = Context::with_key(&key.0);
    mac.update(stream.as_bytes());
    mac.update(b"\n");
    let mut ambiguous = false;
    for (name, value) in fields.iter().filter(|(name, _)| **name != SIGNATURE) {
        ambiguous |= name.contains(&b'=') || name.contains(&b'\n') || value.contains(&b'\n');
        for part in [name, b"=".as_slice(), value, b"\n"] {
            mac.update(part);
        }
    }
    match (verify_slices_are_equal(mac.sign().as_ref(), &claimed), ambiguous) {
        (Err(_), _) => Genuine::No,
        (Ok(()), true) => Genuine::Ambiguous,
        (Ok(()), false) => Genuine::Yes,
    }
}

fn unhex(text: &[u8]) -> Option<[u8; 32]> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let mut bytes = [0; 32];
    if text.len() != 64 {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        let &[high, low] = pair else { return None };
        *byte = u8::try_from(digit(high)? << 4 | digit(low)?).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
pub(super) mod tests {
    use super::{Fields, Genuine, StreamsKey, judge, unhex};
    use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign as hmac};
    use std::collections::BTreeMap;
    use std::fmt::Write as _;

    /// What a producer writes into `_sig`.
    pub(in crate::revocation) fn sign(key: &[u8], stream: &str, fields: &[(&str, &str)]) -> String {
        let sorted: BTreeMap<_, _> = fields.iter().copied().collect();
        let mut text = format!("{stream}\n");
        for (name, value) in sorted {
            writeln!(text, "{name}={value}").unwrap();
        }
        let tag = hmac(&Key::new(HMAC_SHA256, key), text.as_bytes());
        tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[derive(serde::Deserialize)]
    struct Vectors {
        key_hex: String,
        cases: Vec<Case>,
    }

    #[derive(serde::Deserialize)]
    struct Case {
        name: String,
        stream: String,
        fields: BTreeMap<String, String>,
        sig: String,
    }

    fn fields(fields: &BTreeMap<String, String>) -> Fields<'_> {
        fields.iter().map(|(k, v)| (k.as_bytes(), v.as_bytes())).collect()
    }

    #[test]
    fn signature_judges_the_vectors() {
        let vectors: Vectors = testkit::vectors::load("streams");
        let key = StreamsKey::new(&unhex(vectors.key_hex.as_bytes()).unwrap());
        assert!(vectors.cases.len() >= 4);
        for case in vectors.cases {
            let mut signed = case.fields.clone();
            signed.insert("_sig".to_owned(), case.sig.clone());
            let expect = if case.name.starts_with("ambiguous") {
                Genuine::Ambiguous
            } else {
                Genuine::Yes
            };
            assert_eq!(
                judge(&key, &case.stream, &fields(&signed)),
                expect,
                "{}",
                case.name
            );

            let elsewhere = judge(&key, "caracal.policy.invalidate", &fields(&signed));
            assert_eq!(elsewhere, Genuine::No, "{} on another stream", case.name);
            signed.insert("added".to_owned(), String::new());
            assert_eq!(
                judge(&key, &case.stream, &fields(&signed)),
                Genuine::No,
                "{}",
                case.name
            );
            let mut unsigned = case.fields;
            unsigned.remove("_sig");
            assert_eq!(
                judge(&key, &case.stream, &fields(&unsigned)),
                Genuine::No,
                "{}",
                case.name
            );
        }
    }

    #[test]
    fn signature_of_the_wrong_length_or_alphabet_is_none() {
        for text in ["", "00", &"0".repeat(63), &"g".repeat(64), &"0".repeat(66)] {
            assert_eq!(unhex(text.as_bytes()), None, "{text}");
        }
        assert_eq!(unhex(&[b'f'; 64]), Some([255; 32]));
    }

    #[test]
    fn key_is_not_shown() {
        assert_eq!(format!("{:?}", StreamsKey::new(b"secret")), "StreamsKey(..)");
    }
}
