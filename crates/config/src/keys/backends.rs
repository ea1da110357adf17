//! Redis and PostgreSQL.

use super::declaration::section;

section! {
    REDIS: "Redis", "Replay marks, revocation messages and audit delivery. Use a server whose `maxmemory-policy` is \
    `noeviction`: an evicted mark is a mandate that can be used twice.";
    REDIS_URL: SecretUrl, Required,
        "`redis://[user:password@]host[:6379][/database]`; `rediss://` with TLS; `unix:///path[?user=&pass=&db=]`; \
        `redis-sentinel://[user:password@]sentinel[:26379],…[/database]?service=NAME`, or `rediss-sentinel://` with TLS \
        to sentinels and servers alike; `redis-cluster://[user:password@]node[:6379],…`, or `rediss-cluster://`. `/`, `?`, \
        `#`, `@` and `%` in a password are percent-encoded. Rights, Sentinel, Cluster and the tested versions: \
        [redis.md](redis.md).";
    REDIS_SENTINEL_USERNAME: Secret, Unset("the sentinels' default user"),
        "The user at the sentinels. The login in `REDIS_URL` is for the servers that they monitor.";
    REDIS_SENTINEL_PASSWORD: Secret, Unset("no login at the sentinels"),
        "That user's password.";
    REPLAY_MIN_REPLICAS: CountOrZero, Value("0"),
        "How many replicas must confirm a replay mark before its request goes on; with fewer of them within \
        `REPLAY_TIMEOUT` the request is refused as if Redis were down. Audit events count as delivered when as many have them.",
        advice "`1` with Sentinel and Cluster: a failover forgets marks that no replica had. Every single-use request then waits for one \
        more round trip, that of the nearest replica.";
    STREAMS_HMAC_KEY: HmacKey, Required,
        "Verifies and signs stream messages. Shared with every publisher and consumer of the streams.";
    REDIS_CA_FILE: File, Unset("the system's authorities"),
        "PEM certificate authorities to trust for Redis, its nodes and its sentinels, instead of the system's. Needs a `rediss://`, `rediss-sentinel://` or `rediss-cluster://` URL.";
    REDIS_CLIENT_CERT_FILE: File, Unset("no client certificate"),
        "The PEM certificate chain that the gateway shows to Redis.";
    REDIS_CLIENT_KEY_FILE: File, Unset("no client certificate"),
        "The PEM private key of that certificate.";
    REDIS_DIAL_TIMEOUT: Duration, Value("5s"),
        "Time to connect, TLS included.";
    REDIS_READ_TIMEOUT: Duration, Value("3s"),
        "Time for an answer outside the request path; the replay check has `REPLAY_TIMEOUT`.";
    REDIS_WRITE_TIMEOUT: Duration, Value("3s"),
        "Accepted so that existing installations start; it has no effect: an answer's time limit includes the way out.";
    REDIS_POOL_SIZE: Count, Value("20"),
        "Accepted so that existing installations start; it has no effect: each purpose shares one connection.";
    REDIS_MIN_IDLE_CONNS: Count, Value("2"),
        "Accepted so that existing installations start; it has no effect: the shared connections are always kept open.";
    REDIS_POOL_TIMEOUT: Duration, Value("4s"),
        "Accepted so that existing installations start; it has no effect: nothing waits for a free connection.";
}

section! {
    DATABASE: "PostgreSQL", "Bindings and revocation snapshots, read only. No request waits for the database, \
    unless its triggers are missing or not heard. A database of the gateway's own is made by `caracal-gateway migrate` \
    and filled by `caracal-gateway binding add`. Behind PgBouncer, pool sessions: a pool of transactions keeps what \
    `LISTEN` hears to itself, so that changes are looked for every 5 s.";
    DATABASE_URL: SecretUrl, Required,
        "A `postgres://` URL, or keywords such as `host=db user=gateway dbname=caracal`. Parameters are those of libpq; \
        settings of the server (`search_path`, `statement_timeout`, any with a dot) are sent to it. One that has no \
        effect here is a warning, one that is not known or would be passed over is refused by name.";
    DATABASE_CA_FILE: File, Unset("the system's authorities"),
        "PEM certificate authorities to trust for PostgreSQL, instead of the system's.";
    DATABASE_CLIENT_CERT_FILE: File, Unset("no client certificate"),
        "The PEM certificate chain that the gateway shows to PostgreSQL.";
    DATABASE_CLIENT_KEY_FILE: File, Unset("no client certificate"),
        "The PEM private key of that certificate.";
    DB_MAX_CONNS: Count, Value("20"),
        "Accepted so that existing installations start, and shown in metrics; it has no effect: the gateway opens one connection for each purpose, three at most.";
    DB_MIN_CONNS: Count, Value("2"),
        "Accepted so that existing installations start; it has no effect: as `DB_MAX_CONNS`. Not more than that.";
    DB_MAX_CONN_LIFETIME: Duration, Value("30m"),
        "A connection older than this is replaced.";
    DB_MAX_CONN_IDLE: Duration, Value("5m"),
        "Accepted so that existing installations start; it has no effect: the connections are used every 30 s.";
    DB_HEALTH_CHECK_PERIOD: Duration, Value("30s"),
        "Accepted so that existing installations start; it has no effect: as `DB_MAX_CONN_IDLE`.";
    DB_CONNECT_TIMEOUT: Duration, Value("10s"),
        "Time to connect, TLS and login included.";
}
