//! Signing keys of a zone and their published form.

use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, ParsedPublicKey,
};
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};

use crate::Error;
use crate::ids::uuid_v7;

/// How long the key before the newest stays published after a rotation, in seconds.
const OVERLAP_SECONDS: u64 = 24 * 3600;

/// An ES256 key (RFC 7518 §3.4).
pub(super) struct SigningKey {
    pub(super) kid: String,
    /// The JOSE header of its tokens, base64url.
    pub(super) header: String,
    pair: EcdsaKeyPair,
    public: ParsedPublicKey,
    x: String,
    y: String,
}

impl SigningKey {
    fn random(now: u64) -> Result<Self, Error> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?;
        let point = pair.public_key().as_ref();
        let public = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).map_err(|_| Error::Crypto)?;
        // SEC 1 §2.3.3: 0x04, then the two coordinates of 32 bytes each.
        let coordinates = point.strip_prefix(&[4]).ok_or(Error::Crypto)?;
        let (x, y) = coordinates.split_at_checked(32).ok_or(Error::Crypto)?;
        let (x, y) = (BASE64URL_NOPAD.encode(x), BASE64URL_NOPAD.encode(y));
        let kid = uuid_v7(now)?;
        let header = format!(r#"{{"alg":"ES256","kid":"{kid}","typ":"JWT"}}"#);
        Ok(Self {
            kid,
            header: BASE64URL_NOPAD.encode(header.as_bytes()),
            pair,
            public,
            x,
            y,
        })
    }

    pub(super) fn sign(&self, message: &[u8]) -> Result<aws_lc_rs::signature::Signature, Error> {
        Ok(self.pair.sign(&SystemRandom::new(), message)?)
    }

    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.public.verify_sig(message, signature).is_ok()
    }

    /// The published key (RFC 7517 §4, RFC 7518 §6.2).
    fn jwk(&self) -> Value {
        json!({
            "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256",
            "kid": self.kid, "x": self.x, "y": self.y,
        })
    }
}

/// The newest key and, for a day, the one before.
#[derive(Clone)]
pub(super) struct KeyRing {
    newest: Arc<SigningKey>,
    previous: Option<Arc<SigningKey>>,
    made_at: u64,
}

impl KeyRing {
    pub(super) fn random(now: u64) -> Result<Self, Error> {
        Ok(Self {
            newest: Arc::new(SigningKey::random(now)?),
            previous: None,
            made_at: now,
        })
    }

    pub(super) fn rotated(&self, now: u64) -> Result<Self, Error> {
        Ok(Self {
            previous: Some(Arc::clone(&self.newest)),
            ..Self::random(now)?
        })
    }

    pub(super) fn newest(&self) -> &Arc<SigningKey> {
        &self.newest
    }

    /// The keys whose tokens hold now, newest first.
    fn published(&self, now: u64) -> impl Iterator<Item = &Arc<SigningKey>> {
        let overlapping = now.saturating_sub(self.made_at) < OVERLAP_SECONDS;
        std::iter::once(&self.newest).chain(self.previous.as_ref().filter(move |_| overlapping))
    }

    pub(super) fn find(&self, kid: &str, now: u64) -> Option<Arc<SigningKey>> {
        self.published(now).find(|key| key.kid == kid).cloned()
    }

    /// The key set (RFC 7517 §5).
    pub(super) fn jwks(&self, now: u64) -> Value {
        json!({ "keys": self.published(now).map(|key| key.jwk()).collect::<Vec<_>>() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_previous_key_is_published_for_a_day_and_an_older_one_not_at_all() {
        let first = KeyRing::random(1000).unwrap();
        let second = first.rotated(2000).unwrap();
        let kids = |ring: &KeyRing, now| {
            let keys = ring.jwks(now)["keys"].as_array().unwrap().clone();
            let kids = keys.iter().map(|jwk| jwk["kid"].as_str().unwrap().to_owned());
            kids.collect::<Vec<_>>()
        };
        let (old, new) = (first.newest.kid.clone(), second.newest.kid.clone());
        assert_eq!(kids(&first, 1000), std::slice::from_ref(&old));
        assert_eq!(
            kids(&second, 2000 + OVERLAP_SECONDS - 1),
            [new.clone(), old.clone()]
        );
        assert_eq!(kids(&second, 2000 + OVERLAP_SECONDS), [new]);
        let third = second.rotated(2001).unwrap();
        assert!(third.find(&old, 2001).is_none());
        assert!(third.find(&third.newest.kid, 2001).is_some());
    }

    #[test]
    fn coordinates_are_43_characters() {
        let ring = KeyRing::random(0).unwrap();
        assert_eq!((ring.newest.x.len(), ring.newest.y.len()), (43, 43));
    }
}
