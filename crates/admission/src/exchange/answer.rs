//! What the STS answered, read strictly. Members that are not needed are dropped unread:
//! one generation of the STS puts a secret into an error.

use std::collections::HashMap;
use std::fmt;

use serde_json::value::RawValue;

use crate::cause::Cause;
use crate::denial::Denial;
use crate::exchange::circuit::Outcome;
use crate::ports::StsAnswer;
use crate::refused::StsRefusal;
use crate::scan;

/// Longest `error` and `error_description` that are passed on, in bytes.
const MAX_WORDS: usize = 1024;
/// What an STS that is well itself says with a server error: its policy or a provider failed. Any
/// other word may be that of whatever answers in its place.
const NOT_THE_STS: [&str; 3] = [
    "http_request_failed",
    "policy_eval_failed",
    "provider_rate_limited",
];
/// How an STS says that the gateway's own signature is at fault.
const GATEWAY_SIGNATURE: &str = "invalid gateway exchange signature";

/// A granted exchange.
pub(super) struct Grant {
    pub(super) access_token: String,
    /// The directive of the resource that was asked for, as raw JSON.
    pub(super) directive: Option<Box<RawValue>>,
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Grant")
    }
}

/// A refused or unusable exchange.
#[derive(Debug)]
pub(super) struct NoGrant {
    pub(super) denial: Denial,
    pub(super) outcome: Outcome,
    pub(super) sts: Option<StsRefusal>,
    pub(super) cause: Option<Cause>,
}

#[derive(serde::Deserialize)]
struct Success {
    access_token: String,
    #[serde(default)]
    upstreams: Option<HashMap<String, Box<RawValue>>>,
}

#[derive(serde::Deserialize)]
struct Failure {
    error: String,
    #[serde(default)]
    error_description: Option<String>,
}

/// Reads an answer.
pub(super) fn read(answer: &StsAnswer, resource: &str) -> Result<Grant, NoGrant> {
    match answer.status {
        200 => read_success(answer, resource),
        400..=599 => Err(read_failure(answer)),
        _ => Err(invalid("sts answered with an unexpected status")),
    }
}

fn read_success(answer: &StsAnswer, resource: &str) -> Result<Grant, NoGrant> {
    if !is_json(&answer.content_type) {
        return Err(invalid("sts answered 200 with another media type than JSON"));
    }
    let success: Success = object(&answer.body)
        .ok_or_else(|| invalid("sts answered 200 with a body that is no token response"))?;
    // RFC 6750 §2.1: what cannot stand in a header is no token.
    let is_usable = scan::all(success.access_token.as_bytes(), |byte| byte.is_ascii_graphic());
    if success.access_token.is_empty() || !is_usable {
        return Err(invalid("sts answered 200 with an unusable access token"));
    }
    let directive = success
        .upstreams
        .and_then(|mut upstreams| upstreams.remove(resource));
    Ok(Grant {
        access_token: success.access_token,
        directive,
    })
}

fn read_failure(answer: &StsAnswer) -> NoGrant {
    let words = object::<Failure>(&answer.body).filter(|failure| !failure.error.is_empty());
    let refused_gateway = answer.status == 401
        && words
            .as_ref()
            .is_some_and(|words| words.error_description.as_deref() == Some(GATEWAY_SIGNATURE));
    if refused_gateway {
        return NoGrant {
            denial: Denial::StsRefusedGateway,
            outcome: Outcome::Answered,
            sts: None,
            cause: Some(Cause::new(
                "sts refused the gateway's signature: compare GATEWAY_STS_HMAC_KEY and the clocks",
            )),
        };
    }
    let available = answer.status < 500
        || words
            .as_ref()
            .is_some_and(|words| NOT_THE_STS.contains(&words.error.as_str()));
    let sts = match words {
        Some(Failure {
            error,
            error_description,
        }) => StsRefusal {
            status: answer.status,
            error: clip(error),
            description: clip(error_description.unwrap_or_default()),
        },
        None => StsRefusal {
            status: answer.status,
            error: "sts_unavailable".to_owned(),
            description: http::StatusCode::from_u16(answer.status)
                .ok()
                .and_then(|status| status.canonical_reason())
                .unwrap_or("sts unavailable")
                .to_owned(),
        },
    };
    NoGrant {
        denial: Denial::ExchangeRefused,
        outcome: if available {
            Outcome::Answered
        } else {
            Outcome::ZoneFault
        },
        sts: Some(sts),
        cause: None,
    }
}

/// One JSON object; an array would fill the members by position.
pub(super) fn object<'a, T: serde::Deserialize<'a>>(body: &'a [u8]) -> Option<T> {
    if body.trim_ascii_start().starts_with(b"{") {
        serde_json::from_slice(body).ok()
    } else {
        None
    }
}

fn invalid(cause: &'static str) -> NoGrant {
    NoGrant {
        denial: Denial::StsAnswerInvalid,
        outcome: Outcome::ZoneFault,
        sts: None,
        cause: Some(Cause::new(cause)),
    }
}

/// `application/json` or a structured syntax of it (RFC 6838 §4.2.8).
fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return true;
    }
    let essence = essence.to_ascii_lowercase();
    essence.starts_with("application/") && essence.ends_with("+json")
}

fn clip(mut words: String) -> String {
    let mut end = words.len().min(MAX_WORDS);
    while !words.is_char_boundary(end) {
        end -= 1;
    }
    words.truncate(end);
    words
}
