//! Sets of the slots of a Redis Cluster.

use std::fmt;
use std::ops::RangeInclusive;

use crate::redis::SLOTS;

const WORDS: usize = SLOTS as usize / 64;

/// Some of the slots, as bits.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::replay) struct Slots(Box<[u64; WORDS]>);

impl Default for Slots {
    fn default() -> Self {
        Self(Box::new([0; WORDS]))
    }
}

impl Slots {
    pub(super) fn all() -> Self {
        Self(Box::new([u64::MAX; WORDS]))
    }

    /// All slots of these ranges; what no cluster has is left out.
    pub(in crate::replay) fn of(ranges: impl IntoIterator<Item = RangeInclusive<u16>>) -> Self {
        let mut slots = Self::default();
        for slot in ranges.into_iter().flatten() {
            if let Some(word) = slots.0.get_mut(usize::from(slot / 64)) {
                *word |= 1 << (slot % 64);
            }
        }
        slots
    }

    pub(in crate::replay) fn contains(&self, slot: u16) -> bool {
        let word = self.0.get(usize::from(slot / 64));
        word.is_some_and(|word| word >> (slot % 64) & 1 == 1)
    }

    /// Those that are in both.
    pub(super) fn and(mut self, other: &Self) -> Self {
        for (word, other) in self.0.iter_mut().zip(&*other.0) {
            *word &= other;
        }
        self
    }

    /// Those that are in one of both.
    pub(super) fn or(mut self, other: &Self) -> Self {
        for (word, other) in self.0.iter_mut().zip(&*other.0) {
            *word |= other;
        }
        self
    }

    /// Those that are not in the other.
    pub(super) fn without(mut self, other: &Self) -> Self {
        for (word, other) in self.0.iter_mut().zip(&*other.0) {
            *word &= !other;
        }
        self
    }

    pub(super) fn is_within(&self, other: &Self) -> bool {
        self.0
            .iter()
            .zip(&*other.0)
            .all(|(word, other)| word & !other == 0)
    }

    pub(super) fn is_apart_from(&self, other: &Self) -> bool {
        self.0
            .iter()
            .zip(&*other.0)
            .all(|(word, other)| word & other == 0)
    }

    /// Its ranges, ascending and apart.
    pub(in crate::replay) fn ranges(&self) -> impl Iterator<Item = RangeInclusive<u16>> + '_ {
        let mut end = 0;
        std::iter::from_fn(move || {
            let start = self.next(end, true)?;
            end = self.next(start, false).unwrap_or(SLOTS);
            Some(start..=end - 1)
        })
    }

    /// The first slot from this one on that is in it, or is not.
    fn next(&self, from: u16, is_in: bool) -> Option<u16> {
        let first = usize::from(from / 64);
        let words = self.0.iter().enumerate().skip(first).map(|(place, word)| {
            let bits = if is_in { *word } else { !*word };
            let before = if place == first { from % 64 } else { 0 };
            (place, bits & (u64::MAX << before))
        });
        let (place, bits) = words.into_iter().find(|(_, bits)| *bits != 0)?;
        u16::try_from(place * 64)
            .ok()?
            .checked_add(u16::try_from(bits.trailing_zeros()).ok()?)
    }

    /// Reads `0-5460,5462`; nothing is no slot.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let number = |text: &str| {
            let number = text.parse::<u16>().ok()?;
            (number < SLOTS).then_some(number)
        };
        let ranges = text.split(',').filter(|_| !text.is_empty()).map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            Some(number(first)?..=number(last)?)
        });
        Some(Self::of(ranges.collect::<Option<Vec<_>>>()?))
    }
}

impl fmt::Display for Slots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut comma = "";
        for range in self.ranges() {
            match (range.start(), range.end()) {
                (slot, last) if slot == last => write!(f, "{comma}{slot}")?,
                (first, last) => write!(f, "{comma}{first}-{last}")?,
            }
            comma = ",";
        }
        Ok(())
    }
}

impl fmt::Debug for Slots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Slots({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::Slots;

    #[test]
    fn slots_survive_their_text() {
        let cases = [
            ("", 0),
            ("0", 1),
            ("16383", 1),
            ("0-16383", 1),
            ("0-63,65,127-128,16383", 4),
            ("5,7,9-200,202", 4),
        ];
        for (text, ranges) in cases {
            let slots = Slots::parse(text).unwrap();
            assert_eq!(
                (slots.to_string().as_str(), slots.ranges().count()),
                (text, ranges)
            );
        }
        assert_eq!(Slots::parse("7-9,1,8-10").unwrap().to_string(), "1,7-10");
        for text in ["16384", "1-", "-1", ",", "1,", "a", "1-2-3", " 1"] {
            assert_eq!(Slots::parse(text), None, "{text}");
        }
    }

    #[test]
    fn slots_are_compared_slot_by_slot() {
        let slots = |text| Slots::parse(text).unwrap();
        assert_eq!(slots("0-100,200").and(&slots("50-300")), slots("50-100,200"));
        assert!(slots("60-70").is_within(&slots("0-100")));
        assert!(slots("").is_within(&slots("")));
        assert!(!slots("60-70").is_within(&slots("0-69")));
        assert_eq!(slots("0-100").without(&slots("50-300")), slots("0-49"));
        assert_eq!(slots("0-100").or(&slots("101,300")), slots("0-101,300"));
        assert!(slots("0-63").is_apart_from(&slots("64")) && !slots("0-64").is_apart_from(&slots("64")));
        assert!(slots("64").contains(64) && !slots("64").contains(63) && !slots("64").contains(65));
        assert!(!slots("0-16383").contains(16_384));
    }
}
