//! Why the stack did not start.

use std::io;

/// Why [`crate::Devstack::start`] gave up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A listener could not be opened.
    #[error("devstack: cannot listen on 127.0.0.1:{port}: {source}")]
    Listen {
        /// The port that was asked for; 0 means any free one.
        port: u16,
        /// What the operating system said.
        source: io::Error,
    },
    /// A client or a resource names a zone that is not configured.
    #[error("devstack: zone {0:?} is not configured")]
    UnknownZone(String),
    /// A resource names a client that is not configured in its zone.
    #[error("devstack: client {0:?} is not configured in the resource's zone")]
    UnknownClient(String),
    /// The same zone, client or resource was configured twice.
    #[error("devstack: {0:?} is configured twice")]
    Duplicate(String),
    /// Random bytes or a signing key could not be made, or a signature failed.
    #[error("devstack: the cryptographic library failed")]
    Crypto,
    /// A directive could not be written as JSON.
    #[error("devstack: cannot write JSON: {0}")]
    Json(#[from] serde_json::Error),
}

impl From<aws_lc_rs::error::Unspecified> for Error {
    fn from(_: aws_lc_rs::error::Unspecified) -> Self {
        Self::Crypto
    }
}
