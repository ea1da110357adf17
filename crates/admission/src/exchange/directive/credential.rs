//! The upstream's credential and the place where it goes.

use http::HeaderName;

use super::secret::Secret;
use super::wire::{Directive, authorization_or};
use crate::ports::Cause;

/// Names that carry the message or the gateway's own word, never a credential.
const RESERVED: [&str; 21] = [
    "baggage",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-forwarded",
    "x-real-ip",
    "x-request-id",
];
const RESERVED_PREFIXES: [&str; 3] = ["x-caracal-", "x-forwarded-", "proxy-"];

/// What the upstream receives instead of the mandate.
#[derive(Clone, Debug)]
pub struct Credential {
    /// Where it goes.
    pub placement: Placement,
    /// The header that the directive names: a caller's own value of it is always dropped,
    /// whatever the placement.
    pub reserved_header: HeaderName,
    /// The resource mandate for `X-Caracal-Identity`, when the provider asks for it.
    pub identity: Option<Secret>,
}

/// The four modes (`auth_mode`).
#[derive(Clone, Debug)]
pub enum Placement {
    /// Nothing is sent.
    None,
    /// `name: [scheme ]token`.
    Header {
        /// The header.
        name: HeaderName,
        /// The word before the token, if any.
        scheme: Option<String>,
        /// The token.
        token: Secret,
    },
    /// A query parameter, which replaces every spelling of it that the caller sent.
    Query {
        /// The parameter.
        name: String,
        /// The key.
        token: Secret,
    },
}

impl Credential {
    /// `Authorization: Bearer <token>` (RFC 6750 §2.1).
    pub(super) fn bearer(token: Secret) -> Self {
        let placement = Placement::Header {
            name: http::header::AUTHORIZATION,
            scheme: Some("Bearer".to_owned()),
            token,
        };
        Self {
            placement,
            reserved_header: http::header::AUTHORIZATION,
            identity: None,
        }
    }
}

/// Judges the directive's mode.
pub(super) fn judge(directive: Directive, access_token: Secret) -> Result<Credential, Cause> {
    let header = authorization_or(&directive.auth_header)?;
    if is_reserved(&header) {
        return Err(Cause::new("directive's credential header is reserved"));
    }
    let scheme = scheme(directive.auth_scheme)?;
    let provider_token = directive.provider_token;
    let provider_token = || -> Result<Secret, Cause> {
        let token = provider_token.ok_or_else(|| Cause::new("directive carries no provider token"))?;
        let sendable =
            !token.expose().is_empty() && token.expose().bytes().all(|byte| (0x20..=0x7e).contains(&byte));
        if sendable {
            Ok(token)
        } else {
            Err(Cause::new("directive's provider token cannot be sent"))
        }
    };
    let (placement, provider) = match (directive.auth_mode.as_str(), directive.auth_location.as_str()) {
        ("none", _) => (Placement::None, false),
        ("caracal_jwt", _) => {
            let scheme = scheme.or_else(|| Some("Bearer".to_owned()));
            (
                Placement::Header {
                    name: header.clone(),
                    scheme,
                    token: access_token.clone(),
                },
                false,
            )
        }
        ("provider_oauth", _) | ("provider_apikey", "" | "header") => (
            Placement::Header {
                name: header.clone(),
                scheme,
                token: provider_token()?,
            },
            true,
        ),
        ("provider_apikey", "query") => {
            let name = directive.query_param_name;
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'~' | b'-');
            if name.is_empty() || !name.bytes().all(plain) {
                return Err(Cause::new(
                    "directive's query parameter name is missing or malformed",
                ));
            }
            (
                Placement::Query {
                    name,
                    token: provider_token()?,
                },
                true,
            )
        }
        _ => return Err(Cause::new("directive's auth_mode or auth_location is unknown")),
    };
    let identity = (provider && directive.forward_caracal_identity).then_some(access_token);
    Ok(Credential {
        placement,
        reserved_header: header,
        identity,
    })
}

/// Letters first, then letters, digits and `-`.
fn scheme(text: String) -> Result<Option<String>, Cause> {
    let mut bytes = text.bytes();
    match bytes.next() {
        None => Ok(None),
        Some(first)
            if first.is_ascii_alphabetic()
                && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') =>
        {
            Ok(Some(text))
        }
        Some(_) => Err(Cause::new("directive's auth_scheme is malformed")),
    }
}

/// Whether a name is reserved in any spelling: some servers read every character of a name that is
/// no letter and no digit as the same one.
fn is_reserved(name: &HeaderName) -> bool {
    let name = name
        .as_str()
        .replace(|letter: char| !letter.is_ascii_alphanumeric(), "-");
    RESERVED.contains(&name.as_str()) || RESERVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}
