//! Accepting connections.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use admission::Scheme;
use socket2::{Domain, Protocol as SocketProtocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::capacity::Capacity;
use super::connection::{self, ConnectionContext, Handler, Peer, Protocol};
use super::tls::ALPN_H2;

/// Connections that the system keeps for us until they are accepted.
const BACKLOG: i32 = 1024;
/// How long a client may take for its TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long to leave a listener alone whose system is out of file descriptors.
const EXHAUSTED: Duration = Duration::from_millis(50);
/// Said to a plain connection for which there is no place.
const FULL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 2\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

/// What a listener speaks.
#[derive(Clone)]
pub enum Speaks {
    /// TLS.
    Tls(TlsAcceptor),
    /// Plain HTTP, in development.
    Plain,
}

/// A bound listener.
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Binds an address. `[::]` takes IPv4 connections too.
    ///
    /// # Errors
    /// The system's.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::STREAM,
            Some(SocketProtocol::TCP),
        )?;
        if address.is_ipv6() {
            socket.set_only_v6(false)?;
        }
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        let socket = TcpListener::from_std(socket.into())?;
        let address = socket.local_addr()?;
        Ok(Self { socket, address })
    }

    /// The address, with the port that the system chose when 0 was asked for.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts until the process stops accepting; every connection is a task of the tracker.
    pub async fn run<H: Handler>(self, acceptor: Acceptor<H>, closing: CancellationToken) {
        loop {
            let accepted = tokio::select! {
                () = closing.cancelled() => return,
                accepted = self.socket.accept() => accepted,
            };
            match accepted {
                Ok((stream, address)) => acceptor.accept(stream, address),
                Err(error) => {
                    // A client that is gone already is no fault; a lack of descriptors passes.
                    if !matches!(
                        error.kind(),
                        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
                    ) {
                        tracing::warn!(error = %error, "accept failed");
                        tokio::time::sleep(EXHAUSTED).await;
                    }
                }
            }
        }
    }
}

/// Takes on what a listener accepts.
pub struct Acceptor<H> {
    /// What it speaks.
    pub speaks: Speaks,
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
                let _unread = stream.try_write(FULL);
            }
            return;
        };
        if stream.set_nodelay(true).is_err() {
            return;
        }
        let (speaks, context) = (self.speaks.clone(), self.context.clone());
        self.context.connections.spawn(async move {
            let _place = place;
            match speaks {
                Speaks::Plain => {
                    let scheme = Scheme::Http;
                    connection::serve(stream, Peer { address, scheme }, Protocol::Either, context).await;
                }
                Speaks::Tls(acceptor) => {
                    let stream = match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
                        Ok(Ok(stream)) => stream,
                        Ok(Err(error)) => {
                            return tracing::debug!(peer = %address, error = %error, "TLS handshake failed");
                        }
                        Err(_) => {
                            return tracing::debug!(peer = %address, "TLS handshake took longer than 10 s");
                        }
                    };
                    let protocol = match stream.get_ref().1.alpn_protocol() {
                        Some(ALPN_H2) => Protocol::Http2,
                        Some(_) | None => Protocol::Http1,
                    };
                    let scheme = Scheme::Https;
                    connection::serve(stream, Peer { address, scheme }, protocol, context).await;
                }
            }
        });
    }
}
