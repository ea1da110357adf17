//! How a connection to Redis is made.

use std::time::Duration;

use admission::ports::Cause;
use futures_util::TryFutureExt as _;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ClientTlsConfig, TlsCertificates};

use crate::local;
use crate::pause::within;
use crate::pem::PemTls;

/// How Redis is reached.
#[derive(Clone)]
pub struct RedisConfig {
    /// `redis://`, `rediss://` or `unix://`, with user, password and database. A secret.
    pub url: String,
    /// Authorities and client certificate, for `rediss://`.
    pub tls: PemTls,
    /// Time to connect, TLS and login included.
    pub dial_timeout: Duration,
    /// Time for an answer outside the request path.
    pub answer_timeout: Duration,
}

/// Makes connections to one Redis server.
#[derive(Clone)]
pub struct RedisConnector {
    client: Client,
    dial_timeout: Duration,
    answer_timeout: Duration,
}

impl RedisConnector {
    /// Checks the URL and the certificates. Nothing is dialled.
    ///
    /// # Errors
    /// When the URL or a certificate cannot be used.
    pub fn new(config: &RedisConfig) -> Result<Self, Cause> {
        let certificates = TlsCertificates {
            client_tls: config.tls.identity.as_ref().map(|identity| ClientTlsConfig {
                client_cert: identity.certificate.clone(),
                client_key: identity.key.clone(),
            }),
            root_cert: config.tls.authorities.clone(),
        };
        let client = if config.url.starts_with("rediss:") {
            Client::build_with_tls(config.url.as_str(), certificates)
        } else {
            Client::open(config.url.as_str())
        };
        Ok(Self {
            client: client.map_err(|error| Cause::new(format!("redis url: {error}")))?,
            dial_timeout: config.dial_timeout,
            answer_timeout: config.answer_timeout,
        })
    }

    /// Time for an answer outside the request path.
    pub(crate) fn answer_timeout(&self) -> Duration {
        self.answer_timeout
    }

    /// A new connection. Every command on it needs a deadline of the caller's: the library's own of
    /// half a second is off, because it is wrong for both replay marks and blocking reads.
    pub(crate) async fn connect(&self) -> Result<MultiplexedConnection, Cause> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.dial_timeout))
            .set_response_timeout(None);
        let dial = self.client.get_multiplexed_async_connection_with_config(&config);
        let dial = dial.map_err(|error| local::cause(format!("redis connect: {error}"), &error));
        within("redis connect", self.dial_timeout, dial).await
    }
}

#[cfg(test)]
mod tests {
    use super::{RedisConfig, RedisConnector};
    use crate::pem::PemTls;
    use std::time::Duration;

    fn config(url: &str) -> RedisConfig {
        RedisConfig {
            url: url.to_owned(),
            tls: PemTls::default(),
            dial_timeout: Duration::from_secs(1),
            answer_timeout: Duration::from_secs(1),
        }
    }

    #[test]
    fn connector_refuses_what_is_no_redis_url() {
        for url in ["", "http://127.0.0.1/", "redis://host:port/"] {
            assert!(RedisConnector::new(&config(url)).is_err(), "{url}");
        }
        assert!(RedisConnector::new(&config("redis://127.0.0.1:6379/3")).is_ok());
    }
}
