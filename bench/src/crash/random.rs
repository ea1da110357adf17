//! Choices that a seed repeats.

use std::time::Duration;

/// A series of numbers (SplitMix64).
pub(super) struct Random(u64);

impl Random {
    /// The series of this seed, and of this number among those of the seed.
    pub(super) fn new(seed: u64, number: u64) -> Self {
        let mut random = Self(seed ^ number.wrapping_mul(0xd134_2543_de82_ef95));
        random.next();
        random
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below this one, which is not 0.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    /// Up to so long.
    pub(super) fn within(&mut self, longest: Duration) -> Duration {
        Duration::from_micros(self.below(u64::try_from(longest.as_micros()).unwrap_or(u64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::Random;

    #[test]
    fn series_is_repeated_by_its_seed_and_its_number_alone() {
        let series = |seed, number| {
            let mut random = Random::new(seed, number);
            [(); 8].map(|()| random.below(1_000_000))
        };
        assert_eq!(series(7, 1), series(7, 1));
        assert_ne!(series(7, 1), series(7, 2));
        assert_ne!(series(7, 1), series(8, 1));
        assert_eq!(Random::new(1, 1).below(0), 0);
    }
}
