//! Stores in memory, for the `dev` and `demo` commands.

use config::{Config, Warning};

use super::StartError;
use crate::process::House;

/// A gateway on stores in memory, against a dev stack.
///
/// # Errors
/// [`StartError`].
pub async fn embedded(_config: Config, _warnings: &[Warning], _stack: &devstack::Devstack) -> Result<House, StartError> {
    Err(StartError::Stores)
}
