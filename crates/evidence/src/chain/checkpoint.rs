//! What signs a checkpoint.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::rand;
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use data_encoding::HEXLOWER;

/// The first line of what is signed; it changes with the form of the rest.
const FORM: &[u8] = b"caracal-evidence-checkpoint/1\n";

/// What a checkpoint's signature is made over: a line that says what it is, and the event's bytes without the member
/// `signature`, which stands between these two parts.
pub(crate) fn statement(front: &[u8], end: &[u8]) -> Vec<u8> {
    [FORM, front, end].concat()
}

/// An Ed25519 signature (RFC 8032).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Signature([u8; 64]);

impl Signature {
    pub(crate) fn from_hex(text: &str) -> Option<Self> {
        let bytes = HEXLOWER.decode(text.as_bytes()).ok()?;
        bytes.try_into().ok().map(Self)
    }

    pub(crate) fn hex(&self) -> String {
        HEXLOWER.encode(&self.0)
    }
}

/// The key that signs the checkpoints of a process.
#[derive(Clone)]
pub struct CheckpointKey {
    seed: [u8; Self::BYTES],
    pair: Arc<Ed25519KeyPair>,
}

impl CheckpointKey {
    /// The length of the secret (RFC 8032 §5.1.5).
    pub const BYTES: usize = 32;

    /// The key of this secret; none where the library refuses it.
    #[must_use]
    pub fn from_seed(seed: [u8; Self::BYTES]) -> Option<Self> {
        let pair = Arc::new(Ed25519KeyPair::from_seed_unchecked(&seed).ok()?);
        Some(Self { seed, pair })
    }

    /// A new key; none where the system has no randomness.
    #[must_use]
    pub fn generate() -> Option<Self> {
        let mut seed = [0; Self::BYTES];
        rand::fill(&mut seed).ok()?;
        Self::from_seed(seed)
    }

    /// The secret, to be kept where only this user reads.
    pub const fn seed(&self) -> &[u8; Self::BYTES] {
        &self.seed
    }

    /// What its signatures are verified with.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        let bytes = self.pair.public_key().as_ref();
        PublicKey(bytes.first_chunk().copied().unwrap_or_default())
    }

    pub(crate) fn sign(&self, statement: &[u8]) -> Signature {
        let signature = self.pair.sign(statement);
        Signature(signature.as_ref().first_chunk().copied().unwrap_or([0; 64]))
    }
}

impl fmt::Debug for CheckpointKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CheckpointKey(redacted)")
    }
}

/// The public part of a [`CheckpointKey`].
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicKey(pub(crate) [u8; 32]);

/// The text is no public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a checkpoint key has 64 lower-case hexadecimal digits, as the first event of a chain, the log and `evidence key` \
     show it"
)]
pub struct InvalidPublicKey;

impl PublicKey {
    /// From 64 lower-case hexadecimal digits.
    ///
    /// # Errors
    /// [`InvalidPublicKey`].
    pub fn from_hex(text: &str) -> Result<Self, InvalidPublicKey> {
        let bytes = HEXLOWER.decode(text.as_bytes()).map_err(|_| InvalidPublicKey)?;
        bytes.try_into().map(Self).map_err(|_| InvalidPublicKey)
    }

    /// 64 lower-case hexadecimal digits.
    #[must_use]
    pub fn hex(&self) -> String {
        HEXLOWER.encode(&self.0)
    }

    /// Whether this is no public key but the secret of that one, which looks the same.
    pub(crate) fn is_secret_of(&self, public: &Self) -> bool {
        CheckpointKey::from_seed(self.0).is_some_and(|key| key.public() == *public)
    }

    pub(crate) fn verifies(&self, statement: &[u8], signature: &Signature) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.0)
            .verify(statement, &signature.0)
            .is_ok()
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.hex())
    }
}

impl std::str::FromStr for PublicKey {
    type Err = InvalidPublicKey;

    fn from_str(text: &str) -> Result<Self, InvalidPublicKey> {
        Self::from_hex(text)
    }
}
