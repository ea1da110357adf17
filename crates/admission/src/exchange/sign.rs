//! The exchange request (RFC 8693 §2.1) and the gateway's signature on it.

mod form;

use std::fmt;

use aws_lc_rs::{digest, hmac};
use data_encoding::HEXLOWER;
use form::encode_form;

use crate::moment::Moment;

/// The path of the token endpoint below `STS_URL`.
pub const TOKEN_PATH: &str = "/oauth/2/token";

/// Signs exchange requests with the key that the gateway shares with its STS.
pub struct ExchangeSigner {
    key: hmac::Key,
    path: String,
}

impl fmt::Debug for ExchangeSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExchangeSigner")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// What one exchange asks for.
#[derive(Clone, Copy)]
pub struct ExchangeRequest<'a> {
    /// The zone that signed the mandate.
    pub zone_id: &'a str,
    /// The application under which the exchange is made.
    pub application_id: &'a str,
    /// The mandate, verbatim.
    pub subject_token: &'a str,
    /// The resource identifier.
    pub resource: &'a str,
    /// The method of the caller's request.
    pub request_method: &'a str,
    /// The path of the caller's request, percent-decoded once, without query.
    pub request_path: &'a [u8],
    /// Unique per exchange: nonce, correlation id and form field in one.
    pub exchange_id: &'a str,
}

/// A request ready to be sent.
pub struct SignedExchange {
    /// The form body. It holds the mandate.
    pub body: String,
    /// `X-Caracal-Gateway-Timestamp`: Unix seconds.
    pub timestamp: u64,
    /// `X-Request-Id` and `X-Caracal-Gateway-Request`.
    pub exchange_id: String,
    /// `X-Caracal-Gateway-Signature`: lower-case hex.
    pub signature: String,
}

impl fmt::Debug for SignedExchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedExchange")
            .field("exchange_id", &self.exchange_id)
            .finish_non_exhaustive()
    }
}

impl ExchangeSigner {
    /// A signer for the STS whose token endpoint has this path: the prefix of `STS_URL`, if
    /// any, and [`TOKEN_PATH`].
    #[must_use]
    pub fn new(key: &[u8], sts_prefix: &str) -> Self {
        let path = format!("{}{TOKEN_PATH}", sts_prefix.trim_end_matches('/'));
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, key),
            path,
        }
    }

    /// Where the request goes.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Encodes and signs a request.
    #[must_use]
    pub fn sign(&self, request: &ExchangeRequest<'_>, now: Moment) -> SignedExchange {
        let body = encode_request(request);
        let timestamp = now.unix.as_secs();
        let signature = self.signature(timestamp, request.exchange_id, "POST", body.as_bytes());
        SignedExchange {
            body,
            timestamp,
            exchange_id: request.exchange_id.to_owned(),
            signature,
        }
    }

    fn signature(&self, timestamp: u64, nonce: &str, method: &str, body: &[u8]) -> String {
        let mut context = hmac::Context::with_key(&self.key);
        let body_digest = HEXLOWER.encode(digest::digest(&digest::SHA256, body).as_ref());
        let parts = [
            &timestamp.to_string(),
            nonce,
            &method.to_ascii_uppercase(),
            &self.path,
            &body_digest,
        ];
        for (index, part) in parts.into_iter().enumerate() {
            if index > 0 {
                context.update(b"\n");
            }
            context.update(part.as_bytes());
        }
        HEXLOWER.encode(context.sign().as_ref())
    }
}

fn encode_request(request: &ExchangeRequest<'_>) -> String {
    // Sorted by name: one generation of the STS re-encodes the parsed form before it hashes it.
    encode_form(&[
        ("application_id", request.application_id.as_bytes()),
        ("gateway_request_id", request.exchange_id.as_bytes()),
        ("grant_type", b"urn:ietf:params:oauth:grant-type:token-exchange"),
        ("request_method", request.request_method.as_bytes()),
        ("request_path", request.request_path),
        ("resource", request.resource.as_bytes()),
        ("subject_token", request.subject_token.as_bytes()),
        (
            "subject_token_type",
            b"urn:ietf:params:oauth:token-type:access_token",
        ),
        ("zone_id", request.zone_id.as_bytes()),
    ])
}

#[cfg(test)]
mod tests;
