//! The line of one request.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Serialize, Serializer};

/// Most bytes of a text that a caller or a peer may choose freely.
const MAX_TEXT: usize = 512;

/// Everything that the log says about one request.
///
/// There is no place for a bearer, a path, a query string or a body, so none can get in.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct RequestLine<'a> {
    /// The request id that the caller sees.
    pub request_id: &'a str,
    /// The caller, as the trusted proxies tell it.
    pub client_ip: IpAddr,
    /// The subject of the certificate that it, or the proxy before it, showed over TLS.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "clipped_option")]
    pub client_certificate: Option<&'a str>,
    /// The method.
    #[serde(serialize_with = "clipped")]
    pub method: &'a str,
    /// The zone, once the signature held; so are the next four.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone_id: Option<&'a str>,
    /// The application under which the exchange is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub application_id: Option<&'a str>,
    /// The resource.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<&'a str>,
    /// The authority record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<&'a str>,
    /// The governed session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_session_id: Option<&'a str>,
    /// The fingerprint of the bearer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject_fp: Option<&'a str>,
    /// The upstream's host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream_host: Option<&'a str>,
    /// Where the upstream's credential was put.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_mode: Option<&'a str>,
    /// The trace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<&'a str>,
    /// The status of the answer; 499 when the caller left before there was one.
    pub status: u16,
    /// `allowed`, `denied`, `preflight`, `upstream_error`, `revoked` and so on.
    pub outcome: &'static str,
    /// The label of the refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub denial: Option<&'static str>,
    /// The internal cause of a refusal, in words.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "clipped_option")]
    pub cause: Option<&'a str>,
    /// What went wrong after the gates, as the evidence names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_kind: Option<&'static str>,
    /// Bytes of the response body, or behind a switch of protocols, that the caller was given.
    pub bytes_out: u64,
    /// Bytes that the caller sent behind a switch of protocols.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_in: Option<u64>,
    /// The time from the request's head to the end of its response.
    #[serde(rename = "duration_us", serialize_with = "micros")]
    pub took: Duration,
}

fn clipped<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(clip(text, MAX_TEXT))
}

fn clipped_option<S: Serializer>(text: &Option<&str>, serializer: S) -> Result<S::Ok, S::Error> {
    clipped(text.unwrap_or_default(), serializer)
}

fn micros<S: Serializer>(took: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(took.as_micros()).unwrap_or(u64::MAX))
}

/// The longest beginning of a text that has at most so many bytes.
pub(super) fn clip(text: &str, bytes: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes)).unwrap_or_default()
}
