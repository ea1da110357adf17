//! One reading of the clock.

use std::time::Duration;

/// What the clock said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Time since the Unix epoch.
    pub unix: Duration,
    /// Time since an arbitrary start that never jumps.
    pub monotonic: Duration,
}
