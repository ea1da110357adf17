//! The token answer (RFC 6749 §5.1, RFC 8693 §2.2.1) with its upstream directives.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::RawValue;

use super::refusal::Refusal;

#[derive(Serialize)]
pub(super) struct TokenAnswer<'a> {
    pub(super) access_token: &'a str,
    token_type: &'static str,
    expires_in: u64,
    #[serde(skip_serializing_if = "str::is_empty")]
    scope: &'a str,
    issued_token_type: &'static str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    target_resources: &'a [String],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    upstreams: BTreeMap<&'a str, &'a RawValue>,
}

/// Writes the answer; `upstreams` is keyed by resource identifier.
pub(super) fn write<'a>(
    token: &'a str,
    expires_in: u64,
    scope: &'a str,
    target_resources: &'a [String],
    upstreams: BTreeMap<&'a str, &'a RawValue>,
) -> Result<Vec<u8>, Refusal> {
    serde_json::to_vec(&TokenAnswer {
        access_token: token,
        token_type: "Bearer",
        expires_in,
        scope,
        issued_token_type: "urn:ietf:params:oauth:token-type:access_token",
        target_resources,
        upstreams,
    })
    .map_err(|_| Refusal::internal())
}
