//! The gateway's signature on an exchange.

use std::collections::{HashSet, VecDeque};

use aws_lc_rs::{digest, hmac};
use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use http::{HeaderMap, Method};

/// How far the gateway's clock may be off, in seconds, each way.
const SKEW_SECONDS: u64 = 60;
/// How long a nonce stays spent, in seconds: as long as any timestamp it came with can pass.
const NONCE_SECONDS: u64 = 120;
/// The most nonces remembered. Beyond it the oldest are forgotten early: about 9,000
/// exchanges a second for two minutes, which only a benchmark reaches.
const MAX_NONCES: usize = 1 << 20;

const TIMESTAMP: &str = "x-caracal-gateway-timestamp";
const NONCE: &str = "x-caracal-gateway-request";
const SIGNATURE: &str = "x-caracal-gateway-signature";

/// The signature does not hold, whatever the reason.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadSignature;

/// Whether a request claims to come from the gateway: any of the three headers.
pub(super) fn is_claimed(headers: &HeaderMap) -> bool {
    [TIMESTAMP, NONCE, SIGNATURE]
        .iter()
        .any(|name| headers.contains_key(*name))
}

/// Verifies the signature of a request and returns its nonce, which is not spent yet.
/// `path` is the path as it was received, escapes and all.
pub(super) fn verify<'h>(
    key: &hmac::Key,
    headers: &'h HeaderMap,
    method: &Method,
    path: &str,
    body: &[u8],
    now: u64,
) -> Result<&'h str, BadSignature> {
    let timestamp = only(headers, TIMESTAMP)?;
    let nonce = only(headers, NONCE)?;
    let signature = HEXLOWER_PERMISSIVE
        .decode(only(headers, SIGNATURE)?.as_bytes())
        .map_err(|_| BadSignature)?;
    let signed_at: u64 = timestamp.parse().map_err(|_| BadSignature)?;
    if nonce.is_empty() || signed_at.abs_diff(now) > SKEW_SECONDS {
        return Err(BadSignature);
    }
    let body_digest = HEXLOWER.encode(digest::digest(&digest::SHA256, body).as_ref());
    let method = method.as_str().to_ascii_uppercase();
    let text = format!("{timestamp}\n{nonce}\n{method}\n{path}\n{body_digest}");
    hmac::verify(key, text.as_bytes(), &signature).map_err(|_| BadSignature)?;
    Ok(nonce)
}

/// The value of a header that must occur once.
pub(super) fn only<'h>(headers: &'h HeaderMap, name: &str) -> Result<&'h str, BadSignature> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().map_err(|_| BadSignature),
        _ => Err(BadSignature),
    }
}

/// The nonces of the last two minutes, by the first half of their SHA-256.
#[derive(Default)]
pub(super) struct Nonces {
    spent: HashSet<[u8; 16]>,
    oldest_first: VecDeque<(u64, [u8; 16])>,
}

impl Nonces {
    /// Spends a nonce; fails when it is spent already.
    pub(super) fn spend(&mut self, nonce: &str, now: u64) -> Result<(), BadSignature> {
        while let Some((until, oldest)) = self.oldest_first.front()
            && (*until <= now || self.oldest_first.len() >= MAX_NONCES)
        {
            self.spent.remove(oldest);
            self.oldest_first.pop_front();
        }
        let digest = digest::digest(&digest::SHA256, nonce.as_bytes());
        let key = *digest.as_ref().first_chunk().ok_or(BadSignature)?;
        if !self.spent.insert(key) {
            return Err(BadSignature);
        }
        self.oldest_first
            .push_back((now.saturating_add(NONCE_SECONDS), key));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use serde_json::Value;

    use super::*;

    fn vectors() -> Value {
        serde_json::from_str(include_str!("../../../../testkit/vectors/exchange.json")).unwrap()
    }

    fn headers(timestamp: &str, nonce: &str, signature: &str) -> HeaderMap {
        [(TIMESTAMP, timestamp), (NONCE, nonce), (SIGNATURE, signature)]
            .into_iter()
            .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_str(value).unwrap()))
            .collect()
    }

    struct Case {
        key: hmac::Key,
        timestamp: u64,
        nonce: String,
        method: Method,
        path: String,
        body: String,
        signature: String,
    }

    fn cases() -> Vec<Case> {
        let all = vectors();
        let key = HEXLOWER
            .decode(all["key_hex"].as_str().unwrap().as_bytes())
            .unwrap();
        let text = |case: &Value, name: &str| case[name].as_str().unwrap().to_owned();
        let cases = all["cases"].as_array().unwrap();
        assert!(cases.len() >= 4);
        cases
            .iter()
            .map(|case| Case {
                key: hmac::Key::new(hmac::HMAC_SHA256, &key),
                timestamp: case["timestamp"].as_u64().unwrap(),
                nonce: text(case, "nonce"),
                method: text(case, "method").parse().unwrap(),
                path: text(case, "path"),
                body: text(case, "body"),
                signature: text(case, "signature"),
            })
            .collect()
    }

    impl Case {
        fn verify(&self, headers: &HeaderMap, body: &str, now: u64) -> bool {
            verify(&self.key, headers, &self.method, &self.path, body.as_bytes(), now).is_ok()
        }

        fn headers(&self) -> HeaderMap {
            headers(&self.timestamp.to_string(), &self.nonce, &self.signature)
        }
    }

    #[test]
    fn every_vector_verifies_in_either_case_of_the_signature() {
        for case in cases() {
            assert!(case.verify(&case.headers(), &case.body, case.timestamp));
            let shouted = headers(
                &case.timestamp.to_string(),
                &case.nonce,
                &case.signature.to_ascii_uppercase(),
            );
            assert!(case.verify(&shouted, &case.body, case.timestamp));
        }
    }

    #[test]
    fn a_change_of_any_signed_part_breaks_the_signature() {
        for case in cases() {
            let time = case.timestamp.to_string();
            let now = case.timestamp;
            assert!(!case.verify(&case.headers(), &format!("{}&", case.body), now));
            assert!(!case.verify(&headers(&time, "other", &case.signature), &case.body, now));
            let later = (now + 1).to_string();
            assert!(!case.verify(&headers(&later, &case.nonce, &case.signature), &case.body, now));
            assert!(!case.verify(&headers(&time, &case.nonce, "00"), &case.body, now));
            assert!(!case.verify(&headers(&time, &case.nonce, "zz"), &case.body, now));
            let put = Case {
                method: Method::PUT,
                ..case
            };
            assert!(!put.verify(&put.headers(), &put.body, now));
            let moved = Case {
                method: Method::POST,
                path: "/x/oauth/2/token".into(),
                ..put
            };
            assert!(!moved.verify(&moved.headers(), &moved.body, now));
        }
    }

    #[test]
    fn sixty_seconds_of_skew_pass_and_sixty_one_do_not() {
        let case = cases().remove(0);
        for (offset, expect) in [(-61, false), (-60, true), (0, true), (60, true), (61, false)] {
            let now = case.timestamp.saturating_add_signed(offset);
            assert_eq!(case.verify(&case.headers(), &case.body, now), expect, "{offset}");
        }
    }

    #[test]
    fn a_missing_or_repeated_header_is_refused() {
        let case = cases().remove(0);
        for name in [TIMESTAMP, NONCE, SIGNATURE] {
            let mut fewer = case.headers();
            let value = fewer.remove(name).unwrap();
            assert!(is_claimed(&fewer));
            assert!(!case.verify(&fewer, &case.body, case.timestamp), "{name} missing");
            let mut more = case.headers();
            more.append(name, value);
            assert!(!case.verify(&more, &case.body, case.timestamp), "{name} twice");
        }
        assert!(!is_claimed(&HeaderMap::new()));
    }

    #[test]
    fn a_nonce_is_spent_for_two_minutes_and_memory_is_bounded() {
        let mut nonces = Nonces::default();
        assert_eq!(nonces.spend("a", 1000), Ok(()));
        assert_eq!(nonces.spend("a", 1000), Err(BadSignature));
        assert_eq!(nonces.spend("a", 1119), Err(BadSignature));
        assert_eq!(nonces.spend("b", 1119), Ok(()));
        assert_eq!(nonces.spend("a", 1120), Ok(()));
        assert_eq!(nonces.oldest_first.len(), 2);
        for n in 0..MAX_NONCES {
            nonces.spend(&n.to_string(), 1121).unwrap();
        }
        assert_eq!(
            (nonces.spent.len(), nonces.oldest_first.len()),
            (MAX_NONCES, MAX_NONCES)
        );
    }
}
