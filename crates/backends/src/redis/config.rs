//! Which Redis servers, and how they are reached.

use std::time::Duration;

use redis::{ConnectionInfo, RedisConnectionInfo};

use crate::pem::PemTls;

/// How Redis is reached.
#[derive(Clone)]
pub struct RedisConfig {
    /// Which servers, with login and database.
    pub servers: RedisServers,
    /// Authorities and client certificate, where the servers' addresses ask for TLS.
    pub tls: PemTls,
    /// Time to connect, TLS and login included.
    pub dial_timeout: Duration,
    /// Time for an answer outside the request path.
    pub answer_timeout: Duration,
}

/// The Redis servers. A secret.
#[derive(Clone)]
pub enum RedisServers {
    /// The one server at this address.
    Single(Box<ConnectionInfo>),
    /// The primary that the sentinels name.
    Sentinel {
        /// The sentinels, with the login at them. The primary is reached with TLS if they are.
        sentinels: Vec<ConnectionInfo>,
        /// The name under which they monitor the primary.
        service: String,
        /// Login and database at the primary.
        primary: RedisConnectionInfo,
    },
    /// The primaries of a cluster, each for the slots that it serves.
    Cluster {
        /// Nodes that are asked for the others, which are reached with the same login, and with TLS if these are.
        seeds: Vec<ConnectionInfo>,
    },
}
