//! Redis and PostgreSQL.

use super::declaration::{Key, Kind, Preset, Section};

pub(crate) const REDIS: Section = Section {
    title: "Redis",
    intro: "Replay marks, revocation messages and audit delivery. Use a server whose `maxmemory-policy` is \
            `noeviction`: an evicted mark is a mandate that can be used twice.",
    keys: &[
        REDIS_URL,
        STREAMS_HMAC_KEY,
        REDIS_CA_FILE,
        REDIS_CLIENT_CERT_FILE,
        REDIS_CLIENT_KEY_FILE,
        REDIS_DIAL_TIMEOUT,
        REDIS_READ_TIMEOUT,
        REDIS_WRITE_TIMEOUT,
        REDIS_POOL_SIZE,
        REDIS_MIN_IDLE_CONNS,
        REDIS_POOL_TIMEOUT,
    ],
};

pub(crate) const REDIS_URL: Key = Key::new(
    "REDIS_URL",
    Kind::SecretUrl,
    Preset::Required,
    "`redis://`, `rediss://` (TLS) or `unix://`, with an optional `/database`.",
);

pub(crate) const STREAMS_HMAC_KEY: Key = Key::new(
    "STREAMS_HMAC_KEY",
    Kind::HmacKey,
    Preset::Required,
    "Verifies and signs stream messages. Shared with every publisher and consumer of the streams.",
);

pub(crate) const REDIS_CA_FILE: Key = Key::new(
    "REDIS_CA_FILE",
    Kind::File,
    Preset::Unset("the system's authorities"),
    "PEM certificate authorities to trust for Redis, instead of the system's. Needs a `rediss://` URL.",
);

pub(crate) const REDIS_CLIENT_CERT_FILE: Key = Key::new(
    "REDIS_CLIENT_CERT_FILE",
    Kind::File,
    Preset::Unset("no client certificate"),
    "The PEM certificate chain that the gateway shows to Redis.",
);

pub(crate) const REDIS_CLIENT_KEY_FILE: Key = Key::new(
    "REDIS_CLIENT_KEY_FILE",
    Kind::File,
    Preset::Unset("no client certificate"),
    "The PEM private key of that certificate.",
);

pub(crate) const REDIS_DIAL_TIMEOUT: Key = Key::new(
    "REDIS_DIAL_TIMEOUT",
    Kind::Duration,
    Preset::Value("5s"),
    "Time to connect, TLS included.",
);

pub(crate) const REDIS_READ_TIMEOUT: Key = Key::new(
    "REDIS_READ_TIMEOUT",
    Kind::Duration,
    Preset::Value("3s"),
    "Time for an answer outside the request path; the replay check has `REPLAY_TIMEOUT`.",
);

pub(crate) const REDIS_WRITE_TIMEOUT: Key = Key::new(
    "REDIS_WRITE_TIMEOUT",
    Kind::Duration,
    Preset::Value("3s"),
    "Accepted so that existing installations start; it has no effect: an answer's time limit includes the way out.",
);

pub(crate) const REDIS_POOL_SIZE: Key = Key::new(
    "REDIS_POOL_SIZE",
    Kind::Count,
    Preset::Value("20"),
    "Accepted so that existing installations start; it has no effect: each purpose shares one connection, three in all.",
);

pub(crate) const REDIS_MIN_IDLE_CONNS: Key = Key::new(
    "REDIS_MIN_IDLE_CONNS",
    Kind::Count,
    Preset::Value("2"),
    "Accepted so that existing installations start; it has no effect: the shared connections are always kept open.",
);

pub(crate) const REDIS_POOL_TIMEOUT: Key = Key::new(
    "REDIS_POOL_TIMEOUT",
    Kind::Duration,
    Preset::Value("4s"),
    "Accepted so that existing installations start; it has no effect: nothing waits for a free connection.",
);

pub(crate) const DATABASE: Section = Section {
    title: "PostgreSQL",
    intro: "Bindings and revocation snapshots, read only. No request waits for the database, \
            unless its triggers are missing.",
    keys: &[
        DATABASE_URL,
        DATABASE_CA_FILE,
        DATABASE_CLIENT_CERT_FILE,
        DATABASE_CLIENT_KEY_FILE,
        DB_MAX_CONNS,
        DB_MIN_CONNS,
        DB_MAX_CONN_LIFETIME,
        DB_MAX_CONN_IDLE,
        DB_HEALTH_CHECK_PERIOD,
        DB_CONNECT_TIMEOUT,
    ],
};

pub(crate) const DATABASE_URL: Key = Key::new(
    "DATABASE_URL",
    Kind::SecretUrl,
    Preset::Required,
    "A `postgres://` URL, or keywords such as `host=db user=gateway dbname=caracal`.",
);

pub(crate) const DATABASE_CA_FILE: Key = Key::new(
    "DATABASE_CA_FILE",
    Kind::File,
    Preset::Unset("the system's authorities"),
    "PEM certificate authorities to trust for PostgreSQL, instead of the system's.",
);

pub(crate) const DATABASE_CLIENT_CERT_FILE: Key = Key::new(
    "DATABASE_CLIENT_CERT_FILE",
    Kind::File,
    Preset::Unset("no client certificate"),
    "The PEM certificate chain that the gateway shows to PostgreSQL.",
);

pub(crate) const DATABASE_CLIENT_KEY_FILE: Key = Key::new(
    "DATABASE_CLIENT_KEY_FILE",
    Kind::File,
    Preset::Unset("no client certificate"),
    "The PEM private key of that certificate.",
);

pub(crate) const DB_MAX_CONNS: Key = Key::new(
    "DB_MAX_CONNS",
    Kind::Count,
    Preset::Value("20"),
    "Accepted so that existing installations start, and shown in metrics; it has no effect: the gateway opens one connection for each purpose, three at most.",
);

pub(crate) const DB_MIN_CONNS: Key = Key::new(
    "DB_MIN_CONNS",
    Kind::Count,
    Preset::Value("2"),
    "Accepted so that existing installations start; it has no effect: as `DB_MAX_CONNS`. Not more than that.",
);

pub(crate) const DB_MAX_CONN_LIFETIME: Key = Key::new(
    "DB_MAX_CONN_LIFETIME",
    Kind::Duration,
    Preset::Value("30m"),
    "A connection older than this is replaced.",
);

pub(crate) const DB_MAX_CONN_IDLE: Key = Key::new(
    "DB_MAX_CONN_IDLE",
    Kind::Duration,
    Preset::Value("5m"),
    "Accepted so that existing installations start; it has no effect: the connections are used every 30 s.",
);

pub(crate) const DB_HEALTH_CHECK_PERIOD: Key = Key::new(
    "DB_HEALTH_CHECK_PERIOD",
    Kind::Duration,
    Preset::Value("30s"),
    "Accepted so that existing installations start; it has no effect: as `DB_MAX_CONN_IDLE`.",
);

pub(crate) const DB_CONNECT_TIMEOUT: Key = Key::new(
    "DB_CONNECT_TIMEOUT",
    Kind::Duration,
    Preset::Value("10s"),
    "Time to connect, TLS and login included.",
);
