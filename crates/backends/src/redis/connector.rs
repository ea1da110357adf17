//! How connections to Redis are made.

use std::sync::Arc;
use std::time::Duration;

use admission::limits::OwnEndpoint;
use admission::ports::Cause;
use redis::ProtocolVersion;
use tokio::sync::watch;

use super::cluster::Cluster;
use super::config::{RedisConfig, RedisServers};
use super::connection::Connection;
use super::dialer::Dialer;
use super::sentinel::Sentinels;
use super::slots::slot_of;
use super::topology::Topology;
use crate::component::{Component, Stage};
use crate::pem::PemTls;

/// Makes connections to the Redis server that takes writes: the one there is, or, in a cluster, the one that serves a slot.
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
    Cluster {
        cluster: Arc<Cluster>,
        /// Whose primary is meant; none as long as nobody has said.
        slot: Option<u16>,
    },
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
            RedisServers::Cluster { seeds } => {
                let seeds = seeds.iter().map(|seed| dialer.client(seed.clone()));
                Route::Cluster {
                    cluster: Arc::new(Cluster::new(seeds.collect::<Result<_, _>>()?)),
                    slot: None,
                }
            }
        };
        Ok(Self {
            dialer: Arc::new(dialer),
            route,
            answer_timeout: config.answer_timeout,
        })
    }

    /// The connector, with a task for each sentinel, or one for the cluster.
    ///
    /// # Errors
    /// As [`RedisConnector::new`].
    pub fn component(config: &RedisConfig) -> Result<Component<Self>, Cause> {
        let connector = Self::new(config)?;
        let mut component = Component::new(connector.clone());
        let dialer = connector.dialer;
        match connector.route {
            Route::Single(_) => {}
            Route::Sentinel(sentinels) => {
                for index in 0..sentinels.count() {
                    let (sentinels, dialer) = (Arc::clone(&sentinels), Arc::clone(&dialer));
                    component =
                        component.task("redis: sentinel", Stage::Foundation, move |stop| async move {
                            stop.run_until_cancelled(sentinels.follow(index, &dialer)).await;
                        });
                }
            }
            Route::Cluster { cluster, .. } => {
                component = component.task("redis: cluster", Stage::Foundation, move |stop| async move {
                    stop.run_until_cancelled(cluster.follow(&dialer)).await;
                });
            }
        }
        Ok(component)
    }

    /// From now on servers are dialled with these authorities and this certificate.
    ///
    /// # Errors
    /// When a certificate cannot be used; then they stay as they were.
    pub fn renew_tls(&self, tls: &PemTls) -> Result<(), Cause> {
        self.dialer.renew_tls(tls)
    }

    /// The way to the server that holds this key, whichever that is at the time. Without a cluster it is the only one.
    #[must_use]
    pub fn for_key(&self, key: &[u8]) -> Self {
        self.for_slot(slot_of(key))
    }

    /// The way to the server that serves this slot.
    #[must_use]
    pub fn for_slot(&self, slot: u16) -> Self {
        let mut connector = self.clone();
        if let Route::Cluster { slot: of, .. } = &mut connector.route {
            *of = Some(slot);
        }
        connector
    }

    /// Which primaries serve which slots of the cluster; none without a cluster.
    #[must_use]
    pub fn topology(&self) -> Option<watch::Receiver<Arc<Topology>>> {
        match &self.route {
            Route::Single(_) | Route::Sentinel(_) => None,
            Route::Cluster { cluster, .. } => Some(cluster.topology()),
        }
    }

    /// Where the servers are reached now: the names that are dialled, and the addresses that they had when they were
    /// dialled last. After a failover it is another one.
    #[must_use]
    pub fn endpoints(&self) -> watch::Receiver<Arc<[OwnEndpoint]>> {
        self.dialer.endpoints()
    }

    /// Whether the servers are the nodes of a cluster.
    pub(crate) fn is_cluster(&self) -> bool {
        matches!(self.route, Route::Cluster { .. })
    }

    /// A server that was connected is no primary: in a cluster another one is asked for at once.
    pub(crate) fn doubt(&self) {
        if let Route::Cluster { cluster, .. } = &self.route {
            cluster.doubt();
        }
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
            Route::Cluster {
                cluster,
                slot: Some(slot),
            } => cluster.connect(*slot, &self.dialer).await,
            Route::Cluster { slot: None, .. } => Err(Cause::new(
                "redis: a connection to a cluster is one to the server of a key",
            )),
        }
    }
}
