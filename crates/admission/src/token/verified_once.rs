//! The memory of signatures that held: a reusable mandate pays for the curve once.
//!
//! What is remembered is a SHA-256 digest of the public key and of every byte of the token. A mandate that differs in one
//! bit, in its signature too, is another one; a rotated key makes every mandate another one, and one that its zone no longer
//! lists is not found in the first place, because the key is looked up each time. Only the verification itself is spared:
//! expiry, zone, revocation and all the gates behind are walked on each use. Comparing digests takes no care of time: who
//! could learn one would have to hold the mandate.

use std::collections::HashSet;
use std::mem;

use aws_lc_rs::digest::{Context, SHA256, SHA256_OUTPUT_LEN};
use parking_lot::Mutex;

use super::jws::Jws;
use super::key::VerifyingKey;

/// The most mandates that are remembered: some 6 MiB. Half as many are remembered for certain.
const MOST: usize = 65_536;

/// A digest of a mandate and of the key that signed it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct MandateDigest([u8; SHA256_OUTPUT_LEN]);

impl MandateDigest {
    pub(super) fn of(jws: &Jws<'_>, key: &VerifyingKey) -> Self {
        let mut context = Context::new(&SHA256);
        // Both have a fixed length, so that nothing moves from one part into the next.
        context.update(key.point());
        context.update(jws.signature);
        context.update(jws.signing_input);
        let mut digest = [0; SHA256_OUTPUT_LEN];
        digest.copy_from_slice(context.finish().as_ref());
        Self(digest)
    }
}

/// Mandates whose signature held. Only verified ones come in, so that nobody without a mandate can push others out.
#[derive(Default)]
pub struct VerifiedOnce(Mutex<Generations>);

/// When the young ones are half of all, the old ones go: an expired mandate, which no longer reaches this gate, with them.
#[derive(Default)]
struct Generations {
    young: HashSet<MandateDigest>,
    old: HashSet<MandateDigest>,
}

impl VerifiedOnce {
    pub(super) fn holds(&self, mandate: &MandateDigest) -> bool {
        self.0.lock().holds(mandate, MOST)
    }

    pub(super) fn remember(&self, mandate: MandateDigest) {
        self.0.lock().remember(mandate, MOST);
    }
}

#[cfg(test)]
impl VerifiedOnce {
    pub(super) fn remembers(&self, count: usize) -> bool {
        let generations = self.0.lock();
        generations.young.len() + generations.old.len() == count
    }
}

impl Generations {
    fn holds(&mut self, mandate: &MandateDigest, most: usize) -> bool {
        if self.young.contains(mandate) {
            return true;
        }
        // One that is in use outlives its generation.
        match self.old.take(mandate) {
            Some(used) => {
                self.remember(used, most);
                true
            }
            None => false,
        }
    }

    fn remember(&mut self, mandate: MandateDigest, most: usize) {
        if self.young.len() >= most / 2 {
            // What they have room for is kept, so that nothing grows while others wait for the lock.
            mem::swap(&mut self.young, &mut self.old);
            self.young.clear();
        }
        self.young.insert(mandate);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(number: usize) -> MandateDigest {
        let mut digest = [0; SHA256_OUTPUT_LEN];
        digest[..8].copy_from_slice(&number.to_be_bytes());
        MandateDigest(digest)
    }

    #[test]
    fn memory_is_bounded_and_keeps_what_is_used() {
        let (mut generations, most) = (Generations::default(), 100);
        let used = numbered(usize::MAX);
        generations.remember(used.clone(), most);
        for number in 0..10 * most {
            generations.remember(numbered(number), most);
            assert!(
                generations.young.len() + generations.old.len() <= most,
                "{number}"
            );
            assert!(generations.holds(&used, most), "{number}");
        }
        assert!(generations.holds(&numbered(10 * most - 1), most), "the last");
        assert!(!generations.holds(&numbered(0), most), "the first");
    }
}
