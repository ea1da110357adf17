//! Waiting for a condition, with a deadline.

use std::time::Duration;

/// How long anything in a test may take before it counts as never happening: generous, because a busy machine is
/// slow, and harmless, because only a failing test waits that long.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Asks `condition` again and again until it gives a value.
///
/// # Panics
/// When it has not after [`PATIENCE`]; `what` names what was waited for.
pub async fn until<T>(what: &str, condition: impl AsyncFnMut() -> Option<T>) -> T {
    match within(PATIENCE, condition).await {
        Some(value) => value,
        None => panic!("waited {PATIENCE:?} in vain for {what}"),
    }
}

/// The same for so long, after which there is none.
pub(crate) async fn within<T>(
    patience: Duration,
    mut condition: impl AsyncFnMut() -> Option<T>,
) -> Option<T> {
    let poll = async {
        loop {
            if let Some(value) = condition().await {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(patience, poll).await.ok()
}
