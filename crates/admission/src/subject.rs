//! Whose request it is, owned, for the evidence and the log.

use std::fmt;

/// What the evidence and the log know of a request whose signature held.
#[derive(Clone, PartialEq, Eq)]
pub struct Subject {
    /// The zone that signed the mandate.
    pub zone_id: String,
    /// The resource that was asked for.
    pub resource: String,
    /// The token's `client_id`: the application that asked for the mandate.
    pub client_id: Option<String>,
    /// `sub_type`: `application` or `user`.
    pub subject_kind: Option<String>,
    /// The authority record (`sid`).
    pub session_id: Option<String>,
    /// The governed session (`agent_session_id`).
    pub agent_session_id: Option<String>,
    /// How often the mandate may be presented.
    pub usage: Usage,
}

/// Whether a mandate may be presented again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Usage {
    /// Its `use` class is listed in `REUSABLE_MANDATE_USES`.
    Reusable,
    /// One presentation only.
    SingleUse {
        /// The mandate's id.
        jti: String,
    },
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject")
            .field("zone_id", &self.zone_id)
            .field("resource", &self.resource)
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}
