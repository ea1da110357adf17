//! The facts of a directive that are kept.

/// What the evidence records of a directive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DirectiveMetadata {
    /// `auth_mode`.
    pub auth_mode: String,
    /// `provider_id`.
    pub provider_id: Option<String>,
    /// `connection_id`, which the older generation calls `grant_id`.
    pub connection_id: Option<String>,
}
