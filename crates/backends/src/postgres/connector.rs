//! How a connection to PostgreSQL is made.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use admission::ports::Cause;
use rustls::ClientConfig;
use tokio_postgres::NoTls;
use tokio_postgres::config::{SslMode as Negotiation, SslNegotiation};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::session::Session;
use super::url::{self, SslMode};
use super::{cause, tls};
use crate::pem::PemTls;

/// How PostgreSQL is reached.
#[derive(Clone)]
pub struct PostgresConfig {
    /// A `postgres://` URL or libpq keywords, with `sslmode` and `sslrootcert`. A secret.
    pub url: String,
    /// Authorities and client certificate; `sslrootcert` of the URL comes second.
    pub tls: PemTls,
    /// Time to connect, TLS and login included.
    pub connect_timeout: Duration,
    /// Time for one whole read, on the server and on the way.
    pub read_timeout: Duration,
    /// A connection older than this is replaced.
    pub max_lifetime: Duration,
}

impl fmt::Debug for PostgresConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresConfig")
            .field("tls", &self.tls)
            .field("connect_timeout", &self.connect_timeout)
            .field("read_timeout", &self.read_timeout)
            .field("max_lifetime", &self.max_lifetime)
            .finish_non_exhaustive()
    }
}

/// Makes connections to one PostgreSQL database.
#[derive(Clone)]
pub struct Connector {
    config: tokio_postgres::Config,
    tls: Option<ClientConfig>,
    pub(super) connect_timeout: Duration,
    pub(super) read_timeout: Duration,
    pub(super) max_lifetime: Duration,
    open: Arc<AtomicU64>,
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector")
            .field("connect_timeout", &self.connect_timeout)
            .field("read_timeout", &self.read_timeout)
            .finish_non_exhaustive()
    }
}

impl Connector {
    /// Checks the URL and the certificates. Nothing is dialled.
    ///
    /// # Errors
    /// When the URL or a certificate cannot be used.
    pub fn new(config: &PostgresConfig) -> Result<Self, Cause> {
        let split = url::split(&config.url)?;
        let mut tls = config.tls.clone();
        if let (None, Some(path)) = (&tls.authorities, &split.authorities) {
            let pem = std::fs::read(path)
                .map_err(|error| Cause::new(format!("postgres: sslrootcert {path}: {error}")))?;
            tls.authorities = Some(pem);
        }
        let mut parsed: tokio_postgres::Config = split
            .rest
            .parse()
            .map_err(|error: tokio_postgres::Error| cause("url", &error))?;
        parsed.ssl_mode(match split.mode {
            SslMode::Disable => Negotiation::Disable,
            SslMode::Prefer => Negotiation::Prefer,
            SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => Negotiation::Require,
        });
        if parsed.get_application_name().is_none() {
            parsed.application_name("caracal-gateway");
        }
        parsed.connect_timeout(config.connect_timeout);
        // A listener waits for hours: the kernel tells when the other end is gone.
        parsed.keepalives_idle(Duration::from_secs(30));
        parsed.keepalives_interval(Duration::from_secs(10));
        parsed.keepalives_retries(3);
        let mut tls = tls::client(split.mode, &tls)?;
        if let (Some(tls), SslNegotiation::Direct) = (&mut tls, parsed.get_ssl_negotiation()) {
            tls.alpn_protocols = vec![b"postgresql".to_vec()];
        }
        Ok(Self {
            config: parsed,
            tls,
            connect_timeout: config.connect_timeout,
            read_timeout: config.read_timeout,
            max_lifetime: config.max_lifetime,
            open: Arc::default(),
        })
    }

    /// How many connections are open now, over all clones of this connector.
    #[must_use]
    pub fn open_connections(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    /// A new connection, within the connect timeout.
    pub(crate) async fn connect(&self) -> Result<Session, Cause> {
        let dial = async {
            match &self.tls {
                None => self
                    .config
                    .connect(NoTls)
                    .await
                    .map(|(c, d)| Session::new(c, d, &self.open)),
                Some(tls) => {
                    let tls = MakeRustlsConnect::new(tls.clone());
                    self.config
                        .connect(tls)
                        .await
                        .map(|(c, d)| Session::new(c, d, &self.open))
                }
            }
        };
        match tokio::time::timeout(self.connect_timeout, dial).await {
            Ok(Ok(session)) => Ok(session),
            Ok(Err(error)) => Err(cause("connect", &error)),
            Err(_) => Err(Cause::new(format!(
                "postgres: connect: no answer within {:?}",
                self.connect_timeout
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Connector, PostgresConfig};
    use crate::pem::PemTls;
    use std::time::Duration;

    fn config(url: &str) -> PostgresConfig {
        PostgresConfig {
            url: url.to_owned(),
            tls: PemTls::default(),
            connect_timeout: Duration::from_secs(1),
            read_timeout: Duration::from_secs(1),
            max_lifetime: Duration::from_secs(60),
        }
    }

    #[test]
    fn connector_refuses_what_is_no_database_url() {
        for url in [
            "http://h/db",
            "postgres://h/db?sslmode=maybe",
            "host=h nonsense=1",
            "postgres://h/db?sslmode=verify-full&sslrootcert=/does/not/exist",
        ] {
            assert!(Connector::new(&config(url)).is_err(), "{url}");
        }
        assert!(Connector::new(&config("postgres://u@h/db?pool_max_conns=3")).is_ok());
    }

    #[test]
    fn debug_shows_no_password() {
        let config = config("postgres://u:planted-secret@h/db");
        let text = format!("{config:?} {:?}", Connector::new(&config).unwrap());
        assert!(!text.contains("planted-secret"), "{text}");
    }
}
