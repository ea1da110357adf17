//! The caller's side of live streams.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use testkit::http::Stream;
use testkit::tls::{self, Ca};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use crate::failure::Result;

/// How long an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// Whom the gateway's certificate names.
pub(crate) const HOST: &str = "127.0.0.1";
/// What a stream may take of resident memory, in KiB.
pub(crate) const MOST_KIB: f64 = 20.0;
/// What the gateway lets a connection of HTTP/2 carry.
const STREAMS_PER_CONNECTION: usize = 100;

/// What the callers speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaks {
    /// HTTP/1.1.
    Http1,
    /// HTTP/1.1 over TLS.
    Http1Tls,
    /// HTTP/2 with prior knowledge.
    Http2,
}

impl Speaks {
    /// How many streams share a connection.
    pub(crate) fn streams_per_connection(self) -> usize {
        match self {
            Self::Http1 | Self::Http1Tls => 1,
            Self::Http2 => STREAMS_PER_CONNECTION,
        }
    }
}

impl fmt::Display for Speaks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http1 => "HTTP/1.1",
            Self::Http1Tls => "HTTP/1.1 over TLS",
            Self::Http2 => "HTTP/2",
        })
    }
}

/// Opens streams.
pub(crate) struct Caller {
    to: SocketAddr,
    speaks: Speaks,
    ca: Ca,
    drivers: TaskTracker,
    /// The connection that has room, and for how many streams.
    open: Mutex<Option<(http2::SendRequest<Empty<Bytes>>, usize)>>,
}

impl Caller {
    /// Calls the gateway at this address, whose certificate this authority signed.
    pub(crate) fn new(to: SocketAddr, speaks: Speaks, ca: Ca) -> Self {
        Self {
            to,
            speaks,
            ca,
            drivers: TaskTracker::new(),
            open: Mutex::default(),
        }
    }

    /// Opens a stream and reads its first event.
    pub(crate) async fn stream(&self, resource: &str, mandate: &str) -> Result<Incoming> {
        let request = Request::get("http://bench.example/sse?ms=3600000")
            .header("Host", "bench.example")
            .header("Authorization", format!("Bearer {mandate}"))
            .header("X-Caracal-Resource", resource);
        let request = request.body(Empty::new())?;
        let answer = timeout(ANSWER_TIMEOUT, self.send(request)).await;
        let mut answer = answer.map_err(|_| "no answer within 20 s")??;
        if answer.status() != 200 {
            let status = answer.status();
            let body = answer.into_body().collect().await?.to_bytes();
            return Err(format!("status {status}: {}", String::from_utf8_lossy(&body)).into());
        }
        let first = timeout(ANSWER_TIMEOUT, answer.body_mut().frame()).await;
        first
            .map_err(|_| "no event within 20 s")?
            .ok_or("a stream without an event")??;
        Ok(answer.into_body())
    }

    async fn send(&self, mut request: Request<Empty<Bytes>>) -> Result<Response<Incoming>> {
        if self.speaks == Speaks::Http2 {
            let mut sender = self.connection().await?;
            return Ok(sender.send_request(request).await?);
        }
        *request.uri_mut() = "/sse?ms=3600000".parse()?;
        let (mut sender, driver) = http1::handshake(self.socket().await?).await?;
        self.drivers.spawn(driver);
        Ok(sender.send_request(request).await?)
    }

    async fn connection(&self) -> Result<http2::SendRequest<Empty<Bytes>>> {
        let mut open = self.open.lock().await;
        let (sender, room) = match open.take() {
            Some((sender, room @ 1..)) => (sender, room),
            _ => {
                let made = http2::handshake(TokioExecutor::new(), self.socket().await?).await;
                let (sender, driver) = made?;
                self.drivers.spawn(driver);
                (sender, STREAMS_PER_CONNECTION)
            }
        };
        *open = Some((sender.clone(), room - 1));
        Ok(sender)
    }

    async fn socket(&self) -> Result<TokioIo<Box<dyn Stream>>> {
        Ok(TokioIo::new(match self.speaks {
            Speaks::Http1Tls => tls::connect(self.to, HOST, self.ca.client_config(&["http/1.1"])).await?,
            Speaks::Http1 | Speaks::Http2 => Box::new(TcpStream::connect(self.to).await?),
        }))
    }
}
