//! The signature of stream messages.
//!
//! `_sig` is the lower-case hex HMAC-SHA256 of the stream's name and a line `name=value` per field,
//! sorted by name, each ended by a newline. The form is not injective: with a newline in a value, or
//! a `=` in a name, two messages have one signature. Such a message is told apart here.

use std::collections::BTreeMap;
use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac::{Context, HMAC_SHA256, Key};
use data_encoding::HEXLOWER_PERMISSIVE;

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
    let claimed = fields.get(SIGNATURE).map(|hex| HEXLOWER_PERMISSIVE.decode(hex));
    let Some(Ok(claimed)) = claimed else {
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

#[cfg(test)]
pub(super) mod tests {
    use super::{Fields, Genuine, HEXLOWER_PERMISSIVE, StreamsKey, judge};
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
        HEXLOWER_PERMISSIVE.encode(tag.as_ref())
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
        let key = StreamsKey::new(&HEXLOWER_PERMISSIVE.decode(vectors.key_hex.as_bytes()).unwrap());
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
        let key = StreamsKey::new(b"key");
        let good = sign(b"key", "s", &[("a", "b")]);
        let judged = |sig: &str| {
            let signed = [("a", "b"), ("_sig", sig)].map(|(k, v)| (k.as_bytes(), v.as_bytes()));
            judge(&key, "s", &signed.into())
        };
        assert_eq!(judged(&good), Genuine::Yes);
        for text in [
            "",
            "00",
            &good[1..],
            &good[2..],
            &good.replace(&good[..1], "g"),
            &format!("{good}00"),
        ] {
            assert_eq!(judged(text), Genuine::No, "{text}");
        }
    }

    #[test]
    fn key_is_not_shown() {
        assert_eq!(format!("{:?}", StreamsKey::new(b"secret")), "StreamsKey(..)");
    }
}
