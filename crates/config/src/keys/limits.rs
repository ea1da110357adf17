//! How long the gateway waits, and how much it takes on.

use super::declaration::{Key, Kind, Preset, Section};

pub(crate) const TIME: Section = Section {
    title: "Time limits",
    intro: "Every wait has an end. Durations are written as Go writes them: `5s`, `250ms`, `1m30s`, `1.5h`.",
    keys: &[
        READ_HEADER_TIMEOUT,
        READ_TIMEOUT,
        WRITE_TIMEOUT,
        IDLE_TIMEOUT,
        UPSTREAM_TIMEOUT,
        STREAM_IDLE_TIMEOUT,
        STS_TIMEOUT,
        REPLAY_TIMEOUT,
    ],
};

pub(crate) const READ_HEADER_TIMEOUT: Key = Key::new(
    "READ_HEADER_TIMEOUT",
    Kind::Duration,
    Preset::Value("5s"),
    "From the first byte of a request to the end of its headers.",
)
.advice("Keep it short: it is what stops a client that sends one byte at a time.");

pub(crate) const READ_TIMEOUT: Key = Key::new(
    "READ_TIMEOUT",
    Kind::Duration,
    Preset::Value("30s"),
    "Time spent waiting for the client, from the first byte of a request to the end of its body (408). \
     Time spent on the STS or held back by the upstream does not count. gRPC requests use `STREAM_IDLE_TIMEOUT` instead.",
)
.advice("Raise it when clients upload large bodies over slow links, together with `MAX_REQUEST_BYTES`.");

pub(crate) const WRITE_TIMEOUT: Key = Key::new(
    "WRITE_TIMEOUT",
    Kind::Duration,
    Preset::Value("60s"),
    "Time to write a response whose length is known. Streams are not bound by it.",
)
.advice("Allow for the largest response over the slowest client that you serve.");

pub(crate) const IDLE_TIMEOUT: Key = Key::new(
    "IDLE_TIMEOUT",
    Kind::Duration,
    Preset::Value("120s"),
    "How long a kept-alive connection may wait for its next request.",
)
.advice("Keep it above the idle timeout of a load balancer in front, or it reuses a connection that has just been closed.");

pub(crate) const UPSTREAM_TIMEOUT: Key = Key::new(
    "UPSTREAM_TIMEOUT",
    Kind::Duration,
    Preset::Value("30s"),
    "Time until the upstream's response headers arrive (504).",
)
.advice(
    "Start from the 99th percentile of the upstream's response times and stay above its worst case: \
     a lower value turns slow answers into false timeouts.",
);

pub(crate) const STREAM_IDLE_TIMEOUT: Key = Key::new(
    "STREAM_IDLE_TIMEOUT",
    Kind::DurationOrZero,
    Preset::Value("60s"),
    "How long a stream (SSE, gRPC, a body of unknown length) may be silent; `0` never ends a silent stream.",
)
.advice("Keep it above the interval at which the upstream sends keep-alive comments.");

pub(crate) const STS_TIMEOUT: Key = Key::new(
    "STS_TIMEOUT",
    Kind::Duration,
    Preset::Value("5s"),
    "Time for one token exchange or key fetch, from connect to the last byte of the answer.",
)
.advice("Every request waits for one exchange: a high value lets a slow STS hold the gateway's capacity.");

pub(crate) const REPLAY_TIMEOUT: Key = Key::new(
    "REPLAY_TIMEOUT",
    Kind::Duration,
    Preset::Value("500ms"),
    "Time for the replay store (Redis) to answer; past it the request is refused.",
)
.advice("A few round trips to Redis. A request that cannot be marked is refused, so a tight value costs availability.");

pub(crate) const CAPACITY: Section = Section {
    title: "Capacity",
    intro: "Above a limit the gateway refuses at once, with 503 and `Retry-After`; it never queues without bound.",
    keys: &[
        MAX_REQUEST_BYTES,
        MAX_CONNECTIONS,
        MAX_INFLIGHT_REQUESTS,
        MAX_CONNECTIONS_PER_SOURCE,
    ],
};

pub(crate) const MAX_REQUEST_BYTES: Key = Key::new(
    "MAX_REQUEST_BYTES",
    Kind::Bytes,
    Preset::Value("10485760"),
    "The largest request body; a larger one is refused with 413. The default is 10 MiB.",
);

pub(crate) const MAX_CONNECTIONS: Key = Key::new(
    "MAX_CONNECTIONS",
    Kind::Count,
    Preset::Value("10000"),
    "Client connections at once. Every request needs an upstream socket too: where the hard limit of open files is below \
     twice this plus 512, this is lowered to fit at start, with a warning. `OPERATOR_ADDR` has connections of its own.",
);

pub(crate) const MAX_INFLIGHT_REQUESTS: Key = Key::new(
    "MAX_INFLIGHT_REQUESTS",
    Kind::Count,
    Preset::Value("5000"),
    "Requests at once, streams included.",
);

pub(crate) const MAX_CONNECTIONS_PER_SOURCE: Key = Key::new(
    "MAX_CONNECTIONS_PER_SOURCE",
    Kind::Count,
    Preset::Value("2048"),
    "Connections at once from one source address. Raise it when a load balancer hides the clients behind few addresses.",
);
