//! The claims of a mandate.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

/// The claims of every class of mandate. What a class does not have is left out.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Claims {
    pub(super) iss: String,
    #[serde(deserialize_with = "one_or_many")]
    pub(super) aud: Vec<String>,
    pub(super) sub: String,
    pub(super) sub_type: String,
    pub(super) exp: u64,
    pub(super) iat: u64,
    /// Never written; honoured when read.
    #[serde(default, skip_serializing)]
    pub(super) nbf: Option<u64>,
    pub(super) jti: String,
    pub(super) zone_id: String,
    pub(super) client_id: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) scope: String,
    #[serde(default)]
    pub(super) sid: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) root_sid: String,
    #[serde(rename = "use")]
    pub(super) mandate_use: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) target: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) agent_session_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) delegation_edge_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) source_session_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) target_session_id: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) delegation_path: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) delegation_chain: Option<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) hop_count: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) delegation_graph_epoch: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// `aud` is one string or an array of them (RFC 7519 §4.1.3).
fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }
    Ok(match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(one) => vec![one],
        OneOrMany::Many(many) => many,
    })
}
