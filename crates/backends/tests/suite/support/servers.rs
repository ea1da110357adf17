//! Where the servers of a test are.

use std::time::Duration;

use ::redis::{ConnectionAddr, IntoConnectionInfo as _, RedisConnectionInfo};
use backends::pem::PemTls;
use backends::postgres::{self, PostgresConfig, SslMode};
use backends::redis::{self, RedisConfig, RedisServers};
use testkit::redis::{Cluster, Sentinels};

pub(crate) fn redis_config(url: &str) -> RedisConfig {
    RedisConfig {
        servers: RedisServers::Single(Box::new(url.parse().unwrap())),
        tls: PemTls::default(),
        dial_timeout: Duration::from_secs(5),
        answer_timeout: Duration::from_secs(5),
    }
}

pub(crate) fn redis(url: &str) -> redis::RedisConnector {
    redis::RedisConnector::new(&redis_config(url)).unwrap()
}

/// The service of these sentinels, with their login.
pub(crate) fn sentinel_config(group: &Sentinels) -> RedisConfig {
    let (user, password) = group.login();
    let login = RedisConnectionInfo::default()
        .set_username(user)
        .set_password(password);
    let sentinel = |port| {
        let address = ConnectionAddr::Tcp("127.0.0.1".to_owned(), port);
        let address = address.into_connection_info().unwrap();
        address.set_redis_settings(login.clone())
    };
    RedisConfig {
        servers: RedisServers::Sentinel {
            sentinels: group.ports().into_iter().map(sentinel).collect(),
            service: group.service().to_owned(),
            primary: RedisConnectionInfo::default().set_password(group.servers[0].password()),
        },
        ..redis_config("redis://unused")
    }
}

pub(crate) fn database(url: &str) -> postgres::PostgresConnector {
    postgres::PostgresConnector::new(&PostgresConfig {
        client: url.parse().unwrap(),
        ssl_mode: SslMode::Prefer,
        tls: PemTls::default(),
        connect_timeout: Duration::from_secs(5),
        read_timeout: Duration::from_secs(5),
        max_lifetime: Duration::from_secs(1800),
    })
    .unwrap()
}

/// The cluster, as these nodes know it.
pub(crate) fn cluster_config(cluster: &Cluster, seeds: &[usize]) -> RedisConfig {
    let seed = |index: &usize| cluster.nodes[*index].url().parse().unwrap();
    RedisConfig {
        servers: RedisServers::Cluster {
            seeds: seeds.iter().map(seed).collect(),
        },
        ..redis_config("redis://unused")
    }
}
