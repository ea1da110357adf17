//! The running stack.

use std::fmt;
use std::net::Ipv4Addr;

use admission::mode::DevOnly;
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio::task::JoinSet;

use crate::config::{Binding, Client, StackConfig};
use crate::revoke::{Revocation, RevokeError};
use crate::script::Script;
use crate::sts::{MintRequest, Minted, Refusal, Sts};
use crate::upstream::Upstream;
use crate::{Error, Secret, server};

/// A running STS and echo upstream. Dropping it stops both.
pub struct Devstack {
    sts: Sts,
    upstream: Upstream,
    upstream_url: String,
    clients: Vec<Client>,
    bindings: Vec<Binding>,
    tasks: JoinSet<()>,
}

impl Devstack {
    /// Opens both listeners on 127.0.0.1 and serves them. Keys and secrets that the
    /// configuration does not hold are made at random.
    ///
    /// # Errors
    /// A port is taken, the configuration contradicts itself, or there is no randomness.
    pub async fn start(_proof: DevOnly, config: StackConfig) -> Result<Self, Error> {
        let (sts_listener, sts_url) = listen(config.sts_port).await?;
        let (upstream_listener, upstream_url) = listen(config.upstream_port).await?;
        let resources = config.resources.iter();
        let bindings: Vec<_> = resources
            .map(|resource| resource.binding(&upstream_url))
            .collect();
        let sts = Sts::new(&config, &bindings, sts_url)?;
        let upstream = Upstream::new(config.recorded_requests);
        let mut tasks = JoinSet::new();
        let handle = sts.clone();
        tasks.spawn(server::accept(sts_listener, move |stream| {
            handle.clone().serve(stream)
        }));
        let handle = upstream.clone();
        tasks.spawn(server::accept(upstream_listener, move |stream| {
            handle.clone().serve(stream)
        }));
        Ok(Self {
            sts,
            upstream,
            upstream_url,
            clients: config.clients,
            bindings,
            tasks,
        })
    }

    /// Stops both servers and waits until their listeners are closed.
    pub async fn shutdown(mut self) {
        self.tasks.shutdown().await;
    }

    /// `http://127.0.0.1:<port>` of the STS; also the issuer of its mandates.
    #[must_use]
    pub fn sts_url(&self) -> &str {
        self.sts.issuer()
    }

    /// `http://127.0.0.1:<port>` of the echo upstream.
    #[must_use]
    pub fn upstream_url(&self) -> &str {
        &self.upstream_url
    }

    /// The STS: key rotation, literal signing, counts, and serving streams of one's own.
    #[must_use]
    pub fn sts(&self) -> &Sts {
        &self.sts
    }

    /// The echo upstream: what it received, and serving streams of one's own.
    #[must_use]
    pub fn upstream(&self) -> &Upstream {
        &self.upstream
    }

    /// The faults to play.
    #[must_use]
    pub fn script(&self) -> &Script {
        &self.sts.0.script
    }

    /// The key of the exchange signature, as hexadecimal of 32 bytes.
    #[must_use]
    pub fn gateway_hmac_key(&self) -> &Secret {
        &self.sts.0.gateway_hmac_key
    }

    /// The bearer of `/revoke` and of key rotation.
    #[must_use]
    pub fn admin_token(&self) -> &Secret {
        &self.sts.0.admin_token
    }

    /// The configured clients with their secrets.
    #[must_use]
    pub fn clients(&self) -> &[Client] {
        &self.clients
    }

    /// The binding table that belongs to the configured resources.
    #[must_use]
    pub fn bindings(&self) -> &[Binding] {
        &self.bindings
    }

    /// A request for a mandate that targets one resource, for its application; for the
    /// first client where no such resource is configured.
    #[must_use]
    pub fn request_for(&self, resource: &str) -> MintRequest {
        let bound = self.bindings.iter().find(|binding| binding.resource == resource);
        let (zone, client) = bound
            .map(|binding| (binding.zone.as_str(), binding.application_id.as_str()))
            .or_else(|| {
                self.clients
                    .first()
                    .map(|client| (client.zone.as_str(), client.id.as_str()))
            })
            .unwrap_or_default();
        MintRequest {
            resources: vec![resource.into()],
            ..MintRequest::new(zone, client)
        }
    }

    /// Mints a mandate without HTTP and without a client secret.
    ///
    /// # Errors
    /// What the STS would answer over HTTP.
    pub fn mint(&self, request: &MintRequest) -> Result<Minted, Refusal> {
        self.sts.mint(request)
    }

    /// Revokes an anchor: later exchanges that rest on it are refused.
    ///
    /// # Errors
    /// The revocation is empty, or there are too many.
    pub fn revoke(&self, revocation: Revocation) -> Result<(), RevokeError> {
        self.sts.revoke(revocation)
    }

    /// Revocations from now on.
    #[must_use]
    pub fn revocations(&self) -> broadcast::Receiver<Revocation> {
        self.sts.0.revocations.subscribe()
    }
}

impl fmt::Debug for Devstack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Devstack")
            .field("sts_url", &self.sts_url())
            .field("upstream_url", &self.upstream_url)
            .finish_non_exhaustive()
    }
}

async fn listen(port: u16) -> Result<(TcpListener, String), Error> {
    let failed = |source| Error::Listen { port, source };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .await
        .map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, format!("http://{address}")))
}
