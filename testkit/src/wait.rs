//! Waiting for a condition, with a deadline.

use std::time::Duration;

/// How long anything in a test may take before it counts as never happening: generous, because a busy machine is
/// slow, and harmless, because only a failing test waits that long.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Asks `condition` again and again until it gives a value.
///
/// # Panics
/// When it has not after [`PATIENCE`]; `what` names what was waited for.
pub async fn until<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let poll = async {
        loop {
            if let Some(value) = condition().await {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    match tokio::time::timeout(PATIENCE, poll).await {
        Ok(value) => value,
        Err(_) => panic!("waited {PATIENCE:?} in vain for {what}"),
    }
}
