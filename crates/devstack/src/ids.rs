//! Identifiers.

use aws_lc_rs::{error::Unspecified, rand};
use uuid::Builder;

/// A UUIDv7 (RFC 9562 §5.7) for a time in Unix seconds; all the rest is random.
pub(crate) fn uuid_v7(now: u64) -> Result<String, Unspecified> {
    let mut random = [0; 10];
    rand::fill(&mut random)?;
    let id = Builder::from_unix_timestamp_millis(now.saturating_mul(1000), &random).into_uuid();
    Ok(id.to_string())
}
