//! The yardstick: the CPU time of one ES256 verification.

use std::time::Duration;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ParsedPublicKey};
use testkit::mint::Key;

use crate::cpu;
use crate::failure::Result;
use crate::spread::Spread;

/// Verifications per slice.
const SLICE: usize = 1000;
/// Slices per call.
const SLICES: usize = 5;

/// CPU times of one verification, each the mean of a slice.
#[derive(Default)]
pub(crate) struct Verification(Vec<Duration>);

impl Verification {
    /// Adds slices: signatures over the signing input of these mandates, verified on the measured core with a key that
    /// was parsed before, as the gateway does it.
    pub(crate) fn measure<'m>(&mut self, mandates: impl Iterator<Item = &'m str>) -> Result<()> {
        let key = Key::generate("bench");
        let signed: Vec<_> = mandates
            .take(SLICE)
            .filter_map(|mandate| Some(mandate.rsplit_once('.')?.0.as_bytes()))
            .map(|input| (input, key.sign(input)))
            .collect();
        let slices = std::thread::scope(|scope| scope.spawn(|| slices(&key, &signed)).join());
        let slices = slices.map_err(|_| "the verifying thread failed")?;
        self.0.extend(slices?);
        Ok(())
    }

    /// Adds those of another one.
    pub(crate) fn add(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// The cheapest, the median and the dearest slice.
    pub(crate) fn spread(&self) -> Spread<Duration> {
        Spread::of(self.0.iter().copied())
    }
}

fn slices(key: &Key, signed: &[(&[u8], Vec<u8>)]) -> std::result::Result<Vec<Duration>, String> {
    cpu::pin(cpu::MEASURED).map_err(|error| error.to_string())?;
    let public = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.public_point())
        .map_err(|error| error.to_string())?;
    let slice = |_| {
        let before = cpu::of_this_thread();
        for (input, signature) in signed {
            if public.verify_sig(input, signature).is_err() {
                return Err("a good signature was refused".to_owned());
            }
        }
        let used = cpu::of_this_thread().saturating_sub(before);
        Ok(used / u32::try_from(signed.len().max(1)).unwrap_or(u32::MAX))
    };
    // The first one warms the caches.
    (0..=SLICES)
        .map(slice)
        .collect::<std::result::Result<Vec<_>, _>>()
        .map(|all| all.into_iter().skip(1).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_and_range_of_slices() {
        let slices = [5, 1, 9, 3, 4].map(Duration::from_micros);
        let verification = Verification(slices.to_vec());
        let expect = Spread {
            min: Duration::from_micros(1),
            median: Duration::from_micros(4),
            max: Duration::from_micros(9),
        };
        assert_eq!(verification.spread(), expect);
        assert_eq!(Verification::default().spread(), Spread::default());
    }
}
