//! The allowlist: when set, the complete list of hosts.

use crate::cause::Cause;
use crate::limits::EgressPolicy;

/// Whether a host, in normal form, may be an upstream. Entries are hosts, not patterns:
/// exact, case-insensitive and IDNA-normalised by whoever filled the policy.
pub(super) fn check(host: &str, policy: &EgressPolicy) -> Result<(), Cause> {
    if policy.allowlist.is_empty() || policy.allowlist.iter().any(|allowed| allowed == host) {
        return Ok(());
    }
    Err(Cause::new(format!(
        "upstream host {host:?} not in UPSTREAM_HOST_ALLOWLIST"
    )))
}
