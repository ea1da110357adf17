//! What a checkpoint states, and the key that signs it.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::rand;
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use data_encoding::HEXLOWER;

use super::Head;

/// The first line of what is signed; it changes with the form of the rest.
const FORM: &str = "caracal-evidence-checkpoint/1";

/// What a checkpoint states.
#[derive(Debug)]
pub(crate) struct Statement<'a> {
    pub(crate) chain_id: &'a str,
    /// The event before the checkpoint.
    pub(crate) head: Head,
    /// As in the event.
    pub(crate) occurred_at: &'a str,
    /// Nothing follows.
    pub(crate) is_final: bool,
}

impl Statement<'_> {
    /// The bytes that are signed: six lines, each with its line feed.
    fn bytes(&self) -> Vec<u8> {
        let Self {
            chain_id,
            head,
            occurred_at,
            is_final,
        } = self;
        let (seq, hash) = (head.seq, head.hash.hex());
        format!("{FORM}\n{chain_id}\n{seq}\n{hash}\n{occurred_at}\nfinal={is_final}\n").into_bytes()
    }
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

    pub(crate) fn sign(&self, statement: &Statement<'_>) -> Signature {
        let signature = self.pair.sign(&statement.bytes());
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
    "a checkpoint key has 64 lower-case hexadecimal digits, as the first event of a chain and the log show it"
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

    pub(crate) fn verifies(&self, statement: &Statement<'_>, signature: &Signature) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.0)
            .verify(&statement.bytes(), &signature.0)
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
