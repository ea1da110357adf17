//! How connections to Redis are made.

use std::sync::Arc;
use std::time::Duration;

use admission::limits::OwnEndpoint;
use admission::ports::Cause;
use redis::ProtocolVersion;
use tokio::sync::watch;

use super::config::{RedisConfig, RedisServers};
use super::connection::Connection;
use super::dialer::Dialer;
use super::sentinel::Sentinels;
use crate::component::{Component, Stage};

/// Makes connections to the one Redis server that takes writes.
#[derive(Clone)]
pub struct RedisConnector {
    dialer: Arc<Dialer>,
    route: Route,
    answer_timeout: Duration,
}

#[derive(Clone)]
enum Route {
    Single(Arc<redis::Client>),
    Sentinel(Arc<Sentinels>),
}

impl RedisConnector {
    /// Checks addresses and certificates. Nothing is dialled. Sentinels are asked by the tasks of
    /// [`RedisConnector::component`] alone.
    ///
    /// # Errors
    /// When an address or a certificate cannot be used.
    pub fn new(config: &RedisConfig) -> Result<Self, Cause> {
        let dialer = Dialer::new(config);
        let route = match &config.servers {
            RedisServers::Single(server) => Route::Single(Arc::new(dialer.client((**server).clone())?)),
            RedisServers::Sentinel {
                sentinels,
                service,
                primary,
            } => {
                let sentinels = sentinels.iter().map(|sentinel| {
                    // Messages and answers share one connection.
                    let login = sentinel.redis_settings().clone();
                    let login = login.set_protocol(ProtocolVersion::RESP3);
                    dialer.client(sentinel.clone().set_redis_settings(login))
                });
                Route::Sentinel(Arc::new(Sentinels::new(
                    sentinels.collect::<Result<_, _>>()?,
                    service.clone(),
                    primary.clone(),
                )))
            }
        };
        Ok(Self {
            dialer: Arc::new(dialer),
            route,
            answer_timeout: config.answer_timeout,
        })
    }

    /// The connector, with a task for each sentinel.
    ///
    /// # Errors
    /// As [`RedisConnector::new`].
    pub fn component(config: &RedisConfig) -> Result<Component<Self>, Cause> {
        let connector = Self::new(config)?;
        let mut component = Component::new(connector.clone());
        if let Route::Sentinel(sentinels) = connector.route {
            for index in 0..sentinels.count() {
                let (sentinels, dialer) = (Arc::clone(&sentinels), Arc::clone(&connector.dialer));
                component = component.task("redis: sentinel", Stage::Foundation, move |stop| async move {
                    stop.run_until_cancelled(sentinels.follow(index, &dialer)).await;
                });
            }
        }
        Ok(component)
    }

    /// Where the servers are reached now: the names that are dialled, and the addresses that they had when they were
    /// dialled last. After a failover it is another one.
    #[must_use]
    pub fn endpoints(&self) -> watch::Receiver<Arc<[OwnEndpoint]>> {
        self.dialer.endpoints()
    }

    /// Time for an answer outside the request path.
    pub(crate) fn answer_timeout(&self) -> Duration {
        self.answer_timeout
    }

    /// A new connection. Every command on it needs a deadline of the caller's: the library's own of
    /// half a second is off, because it is wrong for both replay marks and blocking reads.
    pub(crate) async fn connect(&self) -> Result<Connection, Cause> {
        match &self.route {
            Route::Single(client) => self.dialer.dial(client, None).await.map(Connection::lasting),
            Route::Sentinel(sentinels) => sentinels.connect(&self.dialer).await,
        }
    }
}
