//! The time, which the configuration supplies.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Tells the time in whole Unix seconds.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The machine's clock; a time before 1970 reads as 0.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "the stack's only reading of the machine's clock"
)]
pub fn system_clock() -> Clock {
    Arc::new(|| {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs())
    })
}
