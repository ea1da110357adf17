//! Making connections over which nothing of HTTP was said yet.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use admission::Scheme;
use admission::binding::Origin;
use admission::ports::Cause;
use rustls::ClientConfig;

use super::connect::connect;
use super::http2::Protocol;
use super::pool::Endpoint;
use super::socket::{Probe, Wire};
use crate::tls::{MadeWith, TlsClient};

/// How a client makes its connections.
pub(super) struct Dialler {
    tls: TlsClient,
    /// Whether that offers HTTP/2 (ALPN). A renewed one offers the same.
    tls_offers_http2: bool,
    /// The hosts of `http` origins that speak it.
    cleartext_hosts: Vec<String>,
    dialled: AtomicU64,
}

/// A connection that was made.
pub(super) struct Reached {
    pub(super) wire: Wire,
    pub(super) endpoint: Endpoint,
    pub(super) speaks: Protocol,
}

impl fmt::Debug for Reached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reached").finish_non_exhaustive()
    }
}

impl Dialler {
    pub(super) fn new(tls: TlsClient, cleartext_hosts: Vec<String>) -> Self {
        Self {
            tls_offers_http2: tls.current().alpn_protocols.iter().any(|name| name == b"h2"),
            tls,
            cleartext_hosts,
            dialled: AtomicU64::new(0),
        }
    }

    /// How many connections were made.
    pub(super) fn dialled(&self) -> u64 {
        self.dialled.load(Ordering::Relaxed)
    }

    /// Whether the origin may speak HTTP/2.
    pub(super) fn may_share(&self, origin: &Origin) -> bool {
        match origin.scheme {
            Scheme::Http => self.cleartext_hosts.contains(&origin.host),
            Scheme::Https => self.tls_offers_http2,
        }
    }

    /// How a connection to the origin would be made now.
    pub(super) fn tls_for(&self, origin: &Origin) -> Option<MadeWith> {
        (origin.scheme == Scheme::Https).then(|| MadeWith::now(&self.tls))
    }

    /// Connects to the first of the addresses that accepts.
    pub(super) async fn reach(&self, origin: &Origin, addresses: Vec<SocketAddr>) -> Result<Reached, Cause> {
        let tls = MadeWith::now(&self.tls);
        let config = Arc::clone(tls.config());
        self.connect(origin, addresses, tls, &config).await
    }

    /// The same, and HTTP/1.1 is spoken whatever the origin speaks otherwise.
    pub(super) async fn reach_to_switch(
        &self,
        origin: &Origin,
        addresses: Vec<SocketAddr>,
    ) -> Result<Reached, Cause> {
        let tls = MadeWith::now(&self.tls);
        let mut config = Arc::clone(tls.config());
        Arc::make_mut(&mut config).alpn_protocols = vec![b"http/1.1".to_vec()];
        let reached = self.connect(origin, addresses, tls, &config).await?;
        Ok(Reached {
            speaks: Protocol::Http1,
            ..reached
        })
    }

    async fn connect(
        &self,
        origin: &Origin,
        addresses: Vec<SocketAddr>,
        tls: MadeWith,
        config: &Arc<ClientConfig>,
    ) -> Result<Reached, Cause> {
        let probe = Probe::default();
        let connected = connect(origin, addresses, config, probe.clone()).await?;
        self.dialled.fetch_add(1, Ordering::Relaxed);
        let speaks = match origin.scheme {
            Scheme::Http if self.may_share(origin) => Protocol::Http2,
            Scheme::Http => Protocol::Http1,
            Scheme::Https => connected.chosen.unwrap_or(Protocol::Http1),
        };
        let endpoint = Endpoint {
            origin: Arc::new(origin.clone()),
            peer: connected.peer,
            probe,
            tls: (origin.scheme == Scheme::Https).then_some(tls),
        };
        Ok(Reached {
            wire: connected.wire,
            endpoint,
            speaks,
        })
    }
}
