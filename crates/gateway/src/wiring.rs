//! Which backend is real. The only room that knows.
//!
//! [`external`] and [`embedded`] list the components of their stores; from there on there is one code path. A new
//! store is one file in `backends` and one line here.

mod assemble;
mod embedded;
mod external;
mod listening;
mod own;
mod runtime;
mod timed;

use std::io;

use admission::ports::Cause;

use crate::process::{CONFIG, INTERNAL, OK};

pub use embedded::embedded;
pub use external::{database, external, judge, redis};

/// The process cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener cannot be bound.
    #[error("cannot listen on {address}: {source}{}", fix(source))]
    Bind {
        /// The address.
        address: std::net::SocketAddr,
        /// The system's answer.
        source: io::Error,
    },
    /// A socket that was handed over cannot be used.
    #[error(transparent)]
    HandedOver(#[from] crate::ingress::handed_over::UnusableSocket),
    /// It is not known at which addresses this machine listens, which are never an upstream.
    #[error(
        "the addresses of this machine cannot be read from /proc/net: {0}; mount /proc, or set BIND_ADDR to one address"
    )]
    Interfaces(#[source] io::Error),
    /// The log cannot be written.
    #[error("no thread for the log: {0}")]
    Log(#[source] io::Error),
    /// The spool cannot be opened.
    #[error("AUDIT_REPLAY_DIR: {0}")]
    Spool(#[from] evidence::SpoolError),
    /// The audit key cannot be used.
    #[error("AUDIT_HMAC_KEY: {0}")]
    AuditKey(#[from] evidence::InvalidKey),
    /// The key of checkpoints cannot be used.
    #[error("AUDIT_CHECKPOINT_KEY: the key cannot be used; make another with `openssl rand -hex 32`")]
    CheckpointKey,
    /// The STS cannot be set up.
    #[error(transparent)]
    Sts(#[from] backends::sts::StsSetupError),
    /// Nothing can be sent to the anchor.
    #[error(transparent)]
    Anchor(#[from] backends::anchor::AnchorSetupError),
    /// TLS cannot be set up.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// TLS towards upstreams cannot be set up.
    #[error("TLS towards upstreams: {0}")]
    UpstreamTls(#[from] backends::tls::TlsError),
    /// A store cannot be set up.
    #[error("{variable}: {cause}")]
    Store {
        /// The variable that describes the store.
        variable: &'static str,
        /// Why.
        cause: Cause,
    },
    /// A dependency did not come up in time. Starting without it would refuse every request.
    #[error("{what} did not come up within {seconds} s: {cause}")]
    Dependency {
        /// What is missing.
        what: &'static str,
        /// How long it was waited for.
        seconds: u64,
        /// The last cause.
        cause: Cause,
    },
    /// It was asked to stop before it listened.
    #[error("stopped while starting")]
    Stopped,
    /// A command asked for stores that the configuration does not describe.
    #[error("this command and the configured stores do not go together")]
    Stores,
}

/// What to do about an address that is taken.
fn fix(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "; end the process that has it, or where that one is to be replaced set REUSE_PORT=on for both, or hand this socket over too"
        }
        _ => "",
    }
}

impl StartError {
    /// The exit status: a store, a directory or a socket that the configuration describes wrongly is a fault of the
    /// configuration.
    #[must_use]
    pub fn code(&self) -> i32 {
        match self {
            Self::Store { .. } | Self::Spool(_) | Self::HandedOver(_) => CONFIG,
            Self::Stopped => OK,
            _ => INTERNAL,
        }
    }
}
