//! The directive as the STS writes it.

use std::fmt;

use http::header::{AUTHORIZATION, HeaderName};
use serde_json::value::RawValue;

use crate::cause::Cause;
use crate::exchange::answer;
use crate::secret::Secret;

/// The wire form of a directive; an unknown member is ignored.
#[derive(serde::Deserialize)]
pub(super) struct Directive {
    pub(super) url: String,
    #[serde(default)]
    pub(super) auth_mode: String,
    #[serde(default)]
    pub(super) auth_location: String,
    #[serde(default)]
    pub(super) auth_header: String,
    #[serde(default)]
    pub(super) query_param_name: String,
    #[serde(default)]
    pub(super) auth_scheme: String,
    #[serde(default)]
    pub(super) allowed_token_hosts: Vec<String>,
    #[serde(default)]
    pub(super) provider_token: Option<Secret>,
    #[serde(default)]
    pub(super) provider_id: Option<String>,
    #[serde(default, alias = "grant_id")]
    pub(super) connection_id: Option<String>,
    #[serde(default)]
    pub(super) forward_caracal_identity: bool,
}

impl fmt::Debug for Directive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Directive")
            .field("auth_mode", &self.auth_mode)
            .finish_non_exhaustive()
    }
}

pub(super) fn parse(raw: &RawValue) -> Result<Directive, Cause> {
    answer::object(raw.get().as_bytes()).ok_or_else(|| Cause::new("directive is not of its form"))
}

/// The credential header; `Authorization` when none is named.
pub(super) fn authorization_or(name: &str) -> Result<HeaderName, Cause> {
    if name.is_empty() {
        return Ok(AUTHORIZATION);
    }
    HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| Cause::new("directive's credential header is no header name"))
}
