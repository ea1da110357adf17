//! Whose request it is, owned, for the evidence and the log.

use std::fmt;

/// What the evidence and the log know of a request whose signature held.
#[derive(Clone, PartialEq, Eq)]
pub struct Subject {
    /// The zone that signed the mandate.
    pub zone_id: String,
    /// The resource that was asked for.
    pub resource: String,
    /// The application under which the exchange is made; the token's `client_id` until the
    /// binding is known.
    pub application_id: Option<String>,
    /// `sub_type`: `application` or `user`.
    pub subject_kind: Option<String>,
    /// The authority record (`sid`).
    pub session_id: Option<String>,
    /// The governed session (`agent_session_id`).
    pub agent_session_id: Option<String>,
    /// The mandate's `jti`.
    pub jti: Option<String>,
    /// The mandate's expiry in Unix seconds.
    pub expires_at: i64,
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject")
            .field("zone_id", &self.zone_id)
            .field("resource", &self.resource)
            .field("application_id", &self.application_id)
            .finish_non_exhaustive()
    }
}
