//! `evidence key`: the public key that auditors verify checkpoints with.

use config::{CheckpointSecret, ProcessEnv};
use evidence::CheckpointKey;

use super::source::SourceError;
use crate::commands::shared::{now, print};
use crate::process::OK;

pub(super) fn run() -> Result<i32, SourceError> {
    let secret = CheckpointSecret::load(&ProcessEnv, now());
    let secret = secret.map_err(|violations| SourceError::Settings(violations.to_string()))?;
    let key = secret.and_then(|secret| CheckpointKey::from_seed(*secret.expose()));
    let key = key.ok_or_else(|| {
        SourceError::Settings(
            "AUDIT_CHECKPOINT_KEY is not set here: each process makes a key of its own, whose public key its log has (`a chain \
             of audit events begins`)"
                .to_owned(),
        )
    })?;
    print(&(key.public().hex() + "\n")).map_err(SourceError::Reader)?;
    Ok(OK)
}
