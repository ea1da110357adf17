//! How a connection to PostgreSQL is made.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use admission::ports::Cause;
use arc_swap::ArcSwapOption;
use futures_util::TryFutureExt as _;
use rustls::ClientConfig;
use tokio_postgres::NoTls;
use tokio_postgres::config::{SslMode as Negotiation, SslNegotiation};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::cause;
use super::session::Session;
use super::tls::{self, SslMode};
use crate::keepalive;
use crate::pause::within;
use crate::pem::PemTls;

/// How PostgreSQL is reached.
#[derive(Clone)]
pub struct PostgresConfig {
    /// Hosts, login and database. The driver's own `sslmode` in it does not count. A secret.
    pub client: tokio_postgres::Config,
    /// How TLS is used.
    pub ssl_mode: SslMode,
    /// Authorities and client certificate.
    pub tls: PemTls,
    /// Time to connect, TLS and login included.
    pub connect_timeout: Duration,
    /// Time for one whole read, on the server and on the way.
    pub read_timeout: Duration,
    /// A connection older than this is replaced.
    pub max_lifetime: Duration,
}

/// Makes connections to one PostgreSQL database.
#[derive(Clone)]
pub struct PostgresConnector {
    config: tokio_postgres::Config,
    ssl_mode: SslMode,
    tls: Arc<ArcSwapOption<ClientConfig>>,
    pub(super) connect_timeout: Duration,
    pub(super) read_timeout: Duration,
    pub(super) max_lifetime: Duration,
    open: Arc<AtomicU64>,
}

impl PostgresConnector {
    /// Checks the certificates. Nothing is dialled.
    ///
    /// # Errors
    /// When a certificate cannot be used.
    pub fn new(config: &PostgresConfig) -> Result<Self, Cause> {
        let mut client = config.client.clone();
        client.ssl_mode(match config.ssl_mode {
            SslMode::Disable => Negotiation::Disable,
            SslMode::Prefer => Negotiation::Prefer,
            SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => Negotiation::Require,
        });
        if client.get_application_name().is_none() {
            client.application_name("caracal-gateway");
        }
        client.connect_timeout(config.connect_timeout);
        // A listener waits for hours: the kernel tells when the other end is gone.
        client.keepalives_idle(keepalive::IDLE);
        client.keepalives_interval(keepalive::INTERVAL);
        client.keepalives_retries(keepalive::RETRIES);
        let connector = Self {
            config: client,
            ssl_mode: config.ssl_mode,
            tls: Arc::default(),
            connect_timeout: config.connect_timeout,
            read_timeout: config.read_timeout,
            max_lifetime: config.max_lifetime,
            open: Arc::default(),
        };
        connector.renew_tls(&config.tls)?;
        Ok(connector)
    }

    /// From now on new connections trust these authorities and show this certificate.
    ///
    /// # Errors
    /// When a certificate cannot be used; then they stay as they were.
    pub fn renew_tls(&self, tls: &PemTls) -> Result<(), Cause> {
        let mut tls = tls::client(self.ssl_mode, tls)?;
        if let (Some(tls), SslNegotiation::Direct) = (&mut tls, self.config.get_ssl_negotiation()) {
            tls.alpn_protocols = vec![b"postgresql".to_vec()];
        }
        self.tls.store(tls.map(Arc::new));
        Ok(())
    }

    /// How many connections are open now, over all clones of this connector.
    #[must_use]
    pub fn open_connections(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    /// A new connection, within the connect timeout.
    pub(crate) async fn connect(&self) -> Result<Session, Cause> {
        let dial = async {
            match self.tls.load_full() {
                None => self
                    .config
                    .connect(NoTls)
                    .await
                    .map(|(c, d)| Session::new(c, d, &self.open)),
                Some(tls) => {
                    let tls = MakeRustlsConnect::new(ClientConfig::clone(&tls));
                    self.config
                        .connect(tls)
                        .await
                        .map(|(c, d)| Session::new(c, d, &self.open))
                }
            }
        };
        let dial = dial.map_err(|error| cause("connect", &error));
        within("postgres: connect", self.connect_timeout, dial).await
    }
}
