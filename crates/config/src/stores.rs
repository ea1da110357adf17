//! The stores behind the gateway: Redis and PostgreSQL, or the embedded ones of development.

use std::num::NonZeroU32;
use std::time::Duration;

use admission::limits::OwnEndpoint;
use admission::mode::{DevOnly, Mode};

use crate::endpoints::{self, Endpoints};
use crate::keys::Key;
use crate::keys::backends as keys;
use crate::postgres;
use crate::reader::{Read, Reader};
use crate::secret::Secret;
use crate::tls::{ClientTls, ClientTlsKeys};
use crate::violation::Violation;

/// Which stores are used. The environment alone never leads to the embedded ones.
#[derive(Clone, Debug)]
pub enum Stores {
    /// Real servers.
    External(Box<External>),
    /// Stores in memory. Development only, hence the proof.
    Embedded(DevOnly),
}

/// The real servers.
#[derive(Clone, Debug)]
pub struct External {
    /// Replay marks, revocation messages and audit delivery.
    pub redis: Redis,
    /// Bindings and revocation snapshots.
    pub database: Database,
}

/// How Redis is reached.
#[derive(Clone, Debug)]
pub struct Redis {
    /// `REDIS_URL`.
    pub url: Secret,
    /// Authorities and client certificate, for `rediss://`.
    pub tls: ClientTls,
    /// Time to connect.
    pub dial_timeout: Duration,
    /// Time for an answer outside the request path.
    pub read_timeout: Duration,
    own_endpoints: Endpoints,
}

/// How PostgreSQL is reached.
#[derive(Clone, Debug)]
pub struct Database {
    /// `DATABASE_URL`: a URL or libpq keywords.
    pub url: Secret,
    /// Authorities and client certificate. Whether TLS is used is the URL's `sslmode`.
    pub tls: ClientTls,
    /// `DB_MAX_CONNS`, shown in metrics. The gateway opens fewer: one connection for each purpose.
    pub max_connections: NonZeroU32,
    /// A connection older than this is replaced.
    pub max_lifetime: Duration,
    /// Time to connect, TLS and login included.
    pub connect_timeout: Duration,
    own_endpoints: Endpoints,
}

impl External {
    pub(crate) fn read(reader: &mut Reader<'_>, mode: Read<Mode>) -> Read<Self> {
        let redis = Redis::read(reader, mode);
        let database = Database::read(reader, mode);
        Ok(Self {
            redis: redis?,
            database: database?,
        })
    }

    pub(crate) fn own_endpoints(&self) -> impl Iterator<Item = &OwnEndpoint> {
        self.redis
            .own_endpoints
            .0
            .iter()
            .chain(&self.database.own_endpoints.0)
    }
}

impl Redis {
    fn read(reader: &mut Reader<'_>, mode: Read<Mode>) -> Read<Self> {
        let url = address(reader, &keys::REDIS_URL, "redis://host:6379", endpoints::redis);
        let in_use = url
            .as_ref()
            .map(|(_, (tls, _))| *tls)
            .map_err(|reported| *reported);
        let tls = ClientTls::read(
            reader,
            mode,
            in_use,
            &ClientTlsKeys {
                url: &keys::REDIS_URL,
                authorities: &keys::REDIS_CA_FILE,
                certificate: &keys::REDIS_CLIENT_CERT_FILE,
                private_key: &keys::REDIS_CLIENT_KEY_FILE,
            },
        );
        let dial_timeout = reader.duration(&keys::REDIS_DIAL_TIMEOUT);
        let read_timeout = reader.duration(&keys::REDIS_READ_TIMEOUT);
        let ignored = reader.ignored(&[
            &keys::REDIS_WRITE_TIMEOUT,
            &keys::REDIS_POOL_SIZE,
            &keys::REDIS_MIN_IDLE_CONNS,
            &keys::REDIS_POOL_TIMEOUT,
        ]);
        let (url, (_, own_endpoints)) = url?;
        ignored?;
        Ok(Self {
            url,
            tls: tls?,
            dial_timeout: dial_timeout?,
            read_timeout: read_timeout?,
            own_endpoints: Endpoints(own_endpoints),
        })
    }
}

impl Database {
    fn read(reader: &mut Reader<'_>, mode: Read<Mode>) -> Read<Self> {
        let url = address(
            reader,
            &keys::DATABASE_URL,
            "postgres://user@host:5432/database",
            postgres::postgres,
        );
        let tls = ClientTls::read(
            reader,
            mode,
            Ok(true),
            &ClientTlsKeys {
                url: &keys::DATABASE_URL,
                authorities: &keys::DATABASE_CA_FILE,
                certificate: &keys::DATABASE_CLIENT_CERT_FILE,
                private_key: &keys::DATABASE_CLIENT_KEY_FILE,
            },
        );
        let max = reader.count(&keys::DB_MAX_CONNS);
        let min = reader.count(&keys::DB_MIN_CONNS);
        // The lower bound has no effect, but one above the upper is a mistake in either.
        let max_connections = match (min, max) {
            (Ok(min), Ok(max)) if min > max => Err(reader.report(Violation::Bounds {
                low: keys::DB_MIN_CONNS.name,
                high: keys::DB_MAX_CONNS.name,
            })),
            (Err(reported), _) => Err(reported),
            (Ok(_), max) => max,
        };
        let max_lifetime = reader.duration(&keys::DB_MAX_CONN_LIFETIME);
        let ignored = reader.ignored(&[&keys::DB_MAX_CONN_IDLE, &keys::DB_HEALTH_CHECK_PERIOD]);
        let connect_timeout = reader.duration(&keys::DB_CONNECT_TIMEOUT);
        let (url, own_endpoints) = url?;
        ignored?;
        Ok(Self {
            url,
            tls: tls?,
            max_connections: max_connections?,
            max_lifetime: max_lifetime?,
            connect_timeout: connect_timeout?,
            own_endpoints: Endpoints(own_endpoints),
        })
    }
}

/// A backend's address and what `parse` reads from it. It may hold a password, so it is never shown.
fn address<T>(
    reader: &mut Reader<'_>,
    key: &Key,
    example: &'static str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Read<(Secret, T)> {
    let url = reader.secret(key)?;
    let fix = format!(
        "set it, or {}_FILE, to {example} (`caracal-gateway dev` needs none)",
        key.name
    );
    let url = reader.present(key, url, &fix)?;
    let parsed = parse(url.expose());
    let parsed = reader.judge(parsed.ok_or(Violation::MalformedSecret {
        name: key.name,
        example,
    }))?;
    Ok((url, parsed))
}
