//! Connections that were refused before their first request: nothing else tells of them.

use std::fmt::Display;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use super::log_pace::LogPace;
use super::proxy_header::ProxyHeaderError;

/// Counts them, and logs some.
#[derive(Debug, Default)]
pub struct Refused {
    proxies: AtomicU64,
    headers: AtomicU64,
    certificates: AtomicU64,
    pace: LogPace,
}

/// How many were refused since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RefusedFigures {
    /// A PROXY header is required, and the peer is not among `TRUSTED_PROXIES`.
    pub proxies: u64,
    /// The PROXY header was missing, malformed or late.
    pub headers: u64,
    /// A certificate is required and was missing, or the one that was shown is not trusted.
    pub certificates: u64,
}

impl Refused {
    /// For want of a PROXY header that can be believed.
    pub fn by_header(&self, peer: SocketAddr, error: &ProxyHeaderError) {
        match error {
            ProxyHeaderError::Untrusted => self.count(&self.proxies, peer, error),
            ProxyHeaderError::Missing | ProxyHeaderError::Malformed | ProxyHeaderError::Late => {
                self.count(&self.headers, peer, error);
            }
            // A client that is gone is no fault.
            ProxyHeaderError::Broken(_) => tracing::debug!(%peer, %error, "no PROXY header"),
        }
    }

    /// A handshake failed, which counts where it was for the caller's certificate: anybody may say what is no TLS.
    pub fn by_handshake(&self, peer: SocketAddr, error: &io::Error) {
        let cause = error.get_ref().and_then(|cause| cause.downcast_ref());
        match cause {
            Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented) => {
                self.count(&self.certificates, peer, error);
            }
            _ => tracing::debug!(%peer, %error, "TLS handshake failed"),
        }
    }

    fn count(&self, counter: &AtomicU64, peer: SocketAddr, why: &dyn Display) {
        counter.fetch_add(1, Ordering::Relaxed);
        if self.pace.is_due() {
            tracing::warn!(%peer, error = %why, "connection refused");
        }
    }

    /// How many.
    pub fn figures(&self) -> RefusedFigures {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        RefusedFigures {
            proxies: of(&self.proxies),
            headers: of(&self.headers),
            certificates: of(&self.certificates),
        }
    }
}
