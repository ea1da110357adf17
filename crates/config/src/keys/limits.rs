//! How long the gateway waits, and how much it takes on.

use super::declaration::section;

section! {
    TIME: "Time limits", "Every wait has an end. Durations are written as Go writes them: `5s`, `250ms`, `1m30s`, `1.5h`.";
    READ_HEADER_TIMEOUT: Duration, Value("5s"),
        "From the first byte of a request to the end of its headers.",
        advice "Keep it short: it is what stops a client that sends one byte at a time.";
    READ_TIMEOUT: Duration, Value("30s"),
        "Time spent waiting for the client, from the first byte of a request to the end of its body (408). \
        Time spent on the STS or held back by the upstream does not count. gRPC requests use `STREAM_IDLE_TIMEOUT` instead.",
        advice "Raise it when clients upload large bodies over slow links, together with `MAX_REQUEST_BYTES`.";
    WRITE_TIMEOUT: Duration, Value("60s"),
        "Time to write a response whose length is known. Streams are not bound by it.",
        advice "Allow for the largest response over the slowest client that you serve.";
    IDLE_TIMEOUT: Duration, Value("120s"),
        "How long a kept-alive connection may wait for its next request.",
        advice "Keep it above the idle timeout of a load balancer in front, or it reuses a connection that has just been closed.";
    UPSTREAM_TIMEOUT: Duration, Value("30s"),
        "Time until the upstream's response headers arrive (504).",
        advice "Start from the 99th percentile of the upstream's response times and stay above its worst case: \
        a lower value turns slow answers into false timeouts.";
    STREAM_IDLE_TIMEOUT: DurationOrZero, Value("60s"),
        "How long a stream (SSE, gRPC, a body of unknown length, both ways together of a WebSocket connection) may be silent; `0` never ends a silent stream.",
        advice "Keep it above the interval at which the upstream sends keep-alive comments.";
    SSE_KEEPALIVE: DurationOrZero, Value("0"),
        "How long server-sent events (a 200 without a known length) may be silent until the caller gets a comment, and then \
        again after each such time; `0` sends none. Only between events, never under a `Content-Encoding`. \
        `STREAM_IDLE_TIMEOUT` goes on meanwhile.",
        advice "Set it, to less than the idle timeout of proxies between the gateway and its callers, where upstreams send no \
        comments of their own. It must be shorter than `STREAM_IDLE_TIMEOUT`.";
    STS_TIMEOUT: Duration, Value("5s"),
        "Time for one token exchange or key fetch, from connect to the last byte of the answer.",
        advice "Every request waits for one exchange: a high value lets a slow STS hold the gateway's capacity.";
    REPLAY_TIMEOUT: Duration, Value("500ms"),
        "Time for the replay store (Redis) to answer; past it the request is refused.",
        advice "A few round trips to Redis. A request that cannot be marked is refused, so a tight value costs availability.";
}

section! {
    CAPACITY: "Capacity", "Above a limit the gateway refuses at once, with 503 and `Retry-After`; it never queues without bound.";
    MAX_REQUEST_BYTES: Bytes, Value("10485760"),
        "The largest request body; a larger one is refused with 413. The default is 10 MiB.";
    MAX_CONNECTIONS: Count, Value("10000"),
        "Client connections at once. Every request needs an upstream socket too: where the hard limit of open files is below \
        twice this plus 512, this is lowered to fit at start, with a warning. `OPERATOR_ADDR` has connections of its own.";
    MAX_INFLIGHT_REQUESTS: Count, Value("5000"),
        "Requests at once, streams included.";
    MAX_CONNECTIONS_PER_SOURCE: Count, Value("2048"),
        "Connections at once from one source address. Raise it when a load balancer hides the clients behind few addresses.";
    OVERLOAD_DELAY: DurationOrZero, Value("100ms"),
        "How late the run queue may be: how much later than it could a task runs, because the CPU does not keep up. Later than \
        this for half a second, a growing share of new requests is refused before their first gate, until it is on time \
        again or that has not helped for two seconds; `0` never refuses for it. The operator's endpoints are never refused, and what was \
        taken on is served. A healthy machine is some milliseconds late now and then: less than `20ms` refuses for nothing.";
}
