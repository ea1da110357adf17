//! Least, median and greatest of a series.

use std::cmp::Ordering;

/// How far the values of a series lie apart; zero where there are none.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Spread<T> {
    /// The least.
    pub(crate) min: T,
    /// The middle one; of two, the greater.
    pub(crate) median: T,
    /// The greatest.
    pub(crate) max: T,
}

impl<T: Copy + Default + PartialOrd> Spread<T> {
    /// Of these values, in any order.
    pub(crate) fn of(values: impl IntoIterator<Item = T>) -> Self {
        let mut sorted: Vec<_> = values.into_iter().collect();
        sorted.sort_unstable_by(|one, other| one.partial_cmp(other).unwrap_or(Ordering::Equal));
        let at = |index: usize| sorted.get(index).copied().unwrap_or_default();
        Self {
            min: at(0),
            median: at(sorted.len() / 2),
            max: at(sorted.len().saturating_sub(1)),
        }
    }
}
