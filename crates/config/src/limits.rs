//! How long the gateway waits, and how much it takes on.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::keys::limits as keys;
use crate::reader::{Read, Reader};
use crate::violation::Violation;

/// Time limits of the request path. None of them is zero.
#[derive(Clone, Debug)]
pub struct Timeouts {
    /// From the first byte of a request to the end of its headers.
    pub read_header: Duration,
    /// Time spent waiting for the client until the end of its body.
    pub read: Duration,
    /// Time to write a response of known length.
    pub write: Duration,
    /// How long a kept-alive connection may be idle.
    pub idle: Duration,
    /// Time until the upstream's response headers arrive.
    pub upstream: Duration,
    /// How long a stream may be silent; `None` means for ever.
    pub stream_idle: Option<Duration>,
    /// After how long a silence of server-sent events a comment is due; `None` for none.
    pub sse_keepalive: Option<Duration>,
    /// Time for one exchange or key fetch.
    pub sts: Duration,
    /// Time for the replay store's answer.
    pub replay: Duration,
}

impl Timeouts {
    pub(crate) fn read(reader: &mut Reader<'_>) -> Read<Self> {
        let read_header = reader.duration(&keys::READ_HEADER_TIMEOUT);
        let read = reader.duration(&keys::READ_TIMEOUT);
        let write = reader.duration(&keys::WRITE_TIMEOUT);
        let idle = reader.duration(&keys::IDLE_TIMEOUT);
        let upstream = reader.duration(&keys::UPSTREAM_TIMEOUT);
        let stream_idle = reader.duration(&keys::STREAM_IDLE_TIMEOUT);
        let sse_keepalive = match (reader.duration(&keys::SSE_KEEPALIVE), &stream_idle) {
            (Ok(keepalive), Ok(idle)) if !idle.is_zero() && keepalive >= *idle => {
                Err(reader.report(Violation::Rule(
                    "SSE_KEEPALIVE must be shorter than STREAM_IDLE_TIMEOUT, which ends the stream first",
                )))
            }
            (keepalive, _) => keepalive,
        };
        let sts = reader.duration(&keys::STS_TIMEOUT);
        let replay = reader.duration(&keys::REPLAY_TIMEOUT);
        Ok(Self {
            read_header: read_header?,
            read: read?,
            write: write?,
            idle: idle?,
            upstream: upstream?,
            stream_idle: Some(stream_idle?).filter(|limit| !limit.is_zero()),
            sse_keepalive: Some(sse_keepalive?).filter(|interval| !interval.is_zero()),
            sts: sts?,
            replay: replay?,
        })
    }
}

/// What the gateway holds at once; above it, it refuses.
#[derive(Clone, Debug)]
pub struct Capacity {
    /// Client connections.
    pub connections: NonZeroU32,
    /// Requests, streams included.
    pub inflight_requests: NonZeroU32,
    /// Connections of one source address.
    pub connections_per_source: NonZeroU32,
    /// How late the run queue may be; `None` for as late as it is.
    pub overload_delay: Option<Duration>,
}

impl Capacity {
    pub(crate) fn read(reader: &mut Reader<'_>) -> Read<Self> {
        let connections = reader.count(&keys::MAX_CONNECTIONS);
        let inflight_requests = reader.count(&keys::MAX_INFLIGHT_REQUESTS);
        let connections_per_source = reader.count(&keys::MAX_CONNECTIONS_PER_SOURCE);
        let overload_delay = reader.duration(&keys::OVERLOAD_DELAY);
        Ok(Self {
            connections: connections?,
            inflight_requests: inflight_requests?,
            connections_per_source: connections_per_source?,
            overload_delay: Some(overload_delay?).filter(|delay| !delay.is_zero()),
        })
    }
}
