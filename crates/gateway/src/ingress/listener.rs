//! Accepting connections.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use admission::Scheme;
use arc_swap::ArcSwap;
use backends::keepalive;
use rustix::io::Errno;
use rustls::ServerConfig;
use socket2::{Domain, Protocol as SocketProtocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::capacity::Capacity;
use super::connection::{self, ConnectionContext, Handler, Peer, Protocol};
use super::log_pace::LogPace;
use super::proxy_header::{ProxyHeaderError, ProxyHeaders};
use super::shared_port;
use super::subject::subject;
use super::tls::ALPN_H2;

/// Connections that the system keeps for us until they are accepted.
const BACKLOG: i32 = 1024;
/// How long a client may take for its TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long to leave a listener alone whose system is out of file descriptors.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(50);
/// Said to a plain connection for which there is no place.
const UNAVAILABLE: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 2\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

/// What a listener speaks.
#[derive(Clone)]
pub enum Speaks {
    /// TLS, each connection as it is configured when it begins.
    Tls(Arc<ArcSwap<ServerConfig>>),
    /// Plain HTTP, in development.
    Plain,
}

/// Who else accepts the connections to a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// Nobody.
    Own,
    /// Other processes of the same user that bound it, too, all with `SO_REUSEPORT`.
    Shared,
    /// Whoever has the same socket: it was handed over.
    Handed,
}

/// A bound listener.
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    port: Port,
}

impl Listener {
    /// Binds an address. `[::]` takes IPv4 connections too.
    ///
    /// # Errors
    /// The system's.
    pub fn bind(address: SocketAddr, port: Port) -> io::Result<Self> {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::STREAM,
            Some(SocketProtocol::TCP),
        )?;
        if address.is_ipv6() {
            socket.set_only_v6(false)?;
        }
        socket.set_reuse_address(true)?;
        if port == Port::Shared {
            socket.set_reuse_port(true)?;
        }
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Self::of(socket, port)
    }

    /// Takes on a socket that listens, whoever made it.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn of(socket: Socket, port: Port) -> io::Result<Self> {
        // Accepted connections have it from here: a caller that vanished does not hold its place for good.
        keepalive::enable(&socket)?;
        socket.set_nonblocking(true)?;
        let socket = TcpListener::from_std(socket.into())?;
        let address = socket.local_addr()?;
        Ok(Self {
            socket,
            address,
            port,
        })
    }

    /// Binds an address that nobody asked for: where the kernel has no IPv6, `0.0.0.0` takes the place of `[::]`.
    ///
    /// # Errors
    /// The system's.
    pub fn bind_default(address: SocketAddr, port: Port) -> io::Result<Self> {
        let bound = Self::bind(address, port);
        // The protocol is not compiled in (`socket`), or disabled on every interface (`bind`).
        let without_ipv6 = |error: &io::Error| {
            matches!(
                Errno::from_io_error(error),
                Some(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL)
            )
        };
        match bound {
            Err(error) if address.is_ipv6() && without_ipv6(&error) => {
                let instead = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
                tracing::warn!(
                    %error,
                    "the kernel has no IPv6: listening on 0.0.0.0 instead of [::]; set BIND_ADDR to choose"
                );
                Self::bind(instead, port)
            }
            bound => bound,
        }
    }

    /// The address, with the port that the system chose when 0 was asked for.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts until the process stops accepting; every connection is a task of the tracker. Whoever connected by then is
    /// accepted, too, and where the port is shared also who was about to.
    pub async fn run<H: Handler>(self, acceptor: Acceptor<H>, closing: CancellationToken) {
        let pace = LogPace::default();
        closing.run_until_cancelled(self.accept(&acceptor, &pace)).await;
        if self.port == Port::Shared && !shared_port::migrates() {
            match shared_port::refuse_new(&self.socket) {
                Ok(()) => {
                    let late = self.accept(&acceptor, &pace);
                    let _over = tokio::time::timeout(shared_port::HANDSHAKES, late).await;
                }
                Err(error) => {
                    tracing::warn!(%error, "connections that begin while the shared port is closed may be reset");
                }
            }
        }
        // What is in the queue of one that was handed over is for the next process.
        if self.port != Port::Handed {
            self.accept_rest(&acceptor);
        }
    }

    /// Accepts what is in the queue, and closes the socket.
    fn accept_rest<H: Handler>(self, acceptor: &Acceptor<H>) {
        let Ok(socket) = self.socket.into_std() else {
            return;
        };
        for _ in 0..BACKLOG {
            let Ok((stream, address)) = socket.accept() else {
                return;
            };
            if stream.set_nonblocking(true).is_ok()
                && let Ok(stream) = TcpStream::from_std(stream)
            {
                acceptor.accept(stream, address);
            }
        }
    }

    async fn accept<H: Handler>(&self, acceptor: &Acceptor<H>, pace: &LogPace) {
        loop {
            match self.socket.accept().await {
                Ok((stream, address)) => acceptor.accept(stream, address),
                // A client that is gone already is no fault.
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
                    ) => {}
                // A lack of descriptors passes; connections wait for it in the backlog.
                Err(error) => {
                    if pace.is_due() {
                        tracing::warn!(error = %error, "accept failed");
                    }
                    tokio::time::sleep(EXHAUSTED_PAUSE).await;
                }
            }
        }
    }
}

/// Takes on what a listener accepts.
pub struct Acceptor<H> {
    /// What it speaks.
    pub speaks: Speaks,
    /// Which proxies say first whose connection it is.
    pub proxy_headers: Option<Arc<ProxyHeaders>>,
    /// How much it takes on.
    pub capacity: Arc<Capacity>,
    /// What its connections need.
    pub context: ConnectionContext<H>,
}

impl<H: Handler> Acceptor<H> {
    fn accept(&self, stream: TcpStream, address: SocketAddr) {
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        let Ok(place) = self.capacity.connection(address.ip()) else {
            if matches!(self.speaks, Speaks::Plain) {
                // Whether it is read is the client's concern: nobody waits for it.
                let _unread = stream.try_write(UNAVAILABLE);
            }
            return;
        };
        if stream.set_nodelay(true).is_err() {
            return;
        }
        let (speaks, context) = (self.speaks.clone(), self.context.clone());
        let (proxy_headers, capacity) = (self.proxy_headers.clone(), Arc::clone(&self.capacity));
        self.context.connections.spawn(async move {
            let (mut stream, mut address, mut _place) = (stream, address, place);
            if let Some(headers) = proxy_headers {
                let caller = Box::pin(headers.caller(&mut stream, address));
                let caller = tokio::time::timeout(context.limits.head, caller).await;
                let caller = match caller.unwrap_or(Err(ProxyHeaderError::Late)) {
                    Ok(caller) => caller,
                    Err(error) => return capacity.refused.by_header(address, &error),
                };
                let Ok(moved) = _place.moved_to(caller.ip()) else {
                    return;
                };
                (address, _place) = (caller, moved);
            }
            match speaks {
                Speaks::Plain => {
                    let peer = Peer {
                        address,
                        scheme: Scheme::Http,
                        certificate: None,
                    };
                    connection::serve(stream, peer, Protocol::Either, context).await;
                }
                Speaks::Tls(config) => {
                    let acceptor = TlsAcceptor::from(config.load_full());
                    // Boxed, handshake and stream: their place is not kept for the whole life of every connection.
                    let handshake = Box::pin(acceptor.accept(stream));
                    let stream = match tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake).await {
                        Ok(Ok(stream)) => Box::new(stream),
                        Ok(Err(error)) => return capacity.refused.by_handshake(address, &error),
                        Err(_) => {
                            return tracing::debug!(peer = %address, "TLS handshake took longer than 10 s");
                        }
                    };
                    let session = stream.get_ref().1;
                    let shown = session.peer_certificates().and_then(|chain| chain.first());
                    let peer = Peer {
                        address,
                        scheme: Scheme::Https,
                        certificate: shown.map(subject),
                    };
                    let protocol = match session.alpn_protocol() {
                        Some(ALPN_H2) => Protocol::Http2,
                        Some(_) | None => Protocol::Http1,
                    };
                    connection::serve(stream, peer, protocol, context).await;
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::capacity::CapacityLimits;
    use super::super::connection::{InFlight, Shutdown, TimeLimits};
    use super::*;
    use crate::relay::Body;
    use bytes::Bytes;
    use http::{Request, Response};
    use hyper::body::Incoming;
    use socket2::SockRef;
    use std::net::TcpStream as Client;
    use tokio_util::task::TaskTracker;

    #[tokio::test]
    async fn listener_accepts_connections_with_keepalive() {
        for address in ["127.0.0.1:0", "[::]:0"] {
            let listener = Listener::bind_default(address.parse().unwrap(), Port::Own).unwrap();
            let to = SocketAddr::from((Ipv4Addr::LOCALHOST, listener.address().port()));
            let client = Client::connect(to).unwrap();
            let (accepted, _) = listener.socket.accept().await.unwrap();
            let socket = SockRef::from(&accepted);
            assert!(socket.keepalive().unwrap(), "{address}");
            assert_eq!(socket.tcp_keepalive_time().unwrap(), keepalive::IDLE);
            assert_eq!(socket.tcp_keepalive_interval().unwrap(), keepalive::INTERVAL);
            assert_eq!(socket.tcp_keepalive_retries().unwrap(), keepalive::RETRIES);
            drop(client);
        }
    }

    struct Nobody;

    impl Handler for Nobody {
        type Body = Body;

        async fn answer(&self, _: Request<Incoming>, _: Peer, _: InFlight) -> Response<Body> {
            Response::new(Body::full(Bytes::new()))
        }
    }

    fn acceptor() -> Acceptor<Nobody> {
        let far = Duration::from_secs(3600);
        let limits = TimeLimits {
            head: far,
            idle: far,
            write: far,
        };
        Acceptor {
            speaks: Speaks::Plain,
            proxy_headers: None,
            capacity: Capacity::new(CapacityLimits {
                connections: 100,
                per_source: 100,
                requests: 1,
            }),
            context: ConnectionContext {
                handler: Arc::new(Nobody),
                limits,
                shutdown: Shutdown::default(),
                connections: TaskTracker::new(),
            },
        }
    }

    /// The kernel resets what a listener leaves in its queue.
    #[tokio::test]
    async fn listener_that_closes_accepts_whoever_connected_and_leaves_the_rest_of_a_shared_port() {
        const CLIENTS: usize = 32;
        let first = Listener::bind("127.0.0.1:0".parse().unwrap(), Port::Shared).unwrap();
        let address = first.address();
        let second = Listener::bind(address, Port::Shared).unwrap();
        let clients: Vec<_> = (0..CLIENTS).map(|_| Client::connect(address).unwrap()).collect();
        let (acceptor, closing) = (acceptor(), CancellationToken::new());
        let taken = acceptor.context.connections.clone();
        closing.cancel();
        first.run(acceptor, closing).await;
        let rest = second.socket.into_std().unwrap();
        let left = std::iter::from_fn(|| rest.accept().ok()).count();
        assert_eq!(taken.len() + left, CLIENTS);
        drop(clients);
    }
}
