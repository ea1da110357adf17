//! Dialling: happy eyeballs (RFC 8305) over judged addresses, then TLS where the origin wants it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use admission::Scheme;
use admission::binding::Origin;
use admission::ports::Cause;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_util::either::Either;

use super::failure::in_words;
use super::http2::Protocol;
use super::socket::{Probe, Socket, Wire};
use crate::keepalive;
use crate::local::lacks_ports;

/// How long all addresses together have to accept.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an attempt goes on alone before the next address is tried beside it (RFC 8305 §5).
const STAGGER: Duration = Duration::from_millis(250);

/// A connection, over which nothing was said yet.
pub(super) struct Connected {
    pub(super) wire: Wire,
    pub(super) peer: SocketAddr,
    /// What the server chose, where it was asked (ALPN, RFC 7301).
    pub(super) chosen: Option<Protocol>,
}

/// Connects to the first of the addresses that accepts.
pub(super) async fn connect(
    origin: &Origin,
    addresses: Vec<SocketAddr>,
    tls: &Arc<ClientConfig>,
    probe: Probe,
) -> Result<Connected, Cause> {
    let (tcp, peer) = timeout(CONNECT_TIMEOUT, first_of(addresses))
        .await
        .map_err(|_| Cause::new("connect: no address accepted within 5 s"))??;
    tcp.set_nodelay(true)
        .and_then(|()| keepalive::enable(&tcp))
        .map_err(|error| in_words("connect", &error))?;
    let socket = Socket::new(tcp, probe.clone());
    let mut chosen = None;
    let stream = match origin.scheme {
        Scheme::Http => Either::Left(socket),
        Scheme::Https => {
            let handshake = TlsConnector::from(Arc::clone(tls)).connect(server_name(&origin.host)?, socket);
            let stream = timeout(HANDSHAKE_TIMEOUT, handshake)
                .await
                .map_err(|_| Cause::new("TLS handshake: not done within 5 s"))?
                .map_err(|error| in_words("TLS handshake", &error))?;
            let protocol = stream.get_ref().1.alpn_protocol();
            chosen = protocol.map(|protocol| match protocol {
                b"h2" => Protocol::Http2,
                _ => Protocol::Http1,
            });
            Either::Right(Box::new(stream))
        }
    };
    Ok(Connected {
        wire: Wire::new(stream, probe),
        peer,
        chosen,
    })
}

async fn first_of(addresses: Vec<SocketAddr>) -> Result<(TcpStream, SocketAddr), Cause> {
    let mut waiting = addresses.into_iter();
    let mut attempts = FuturesUnordered::new();
    let mut failed = Cause::new("connect: there is no address");
    attempts.extend(waiting.next().map(attempt));
    while !attempts.is_empty() {
        tokio::select! {
            Some(outcome) = attempts.next() => match outcome {
                Ok(connected) => return Ok(connected),
                Err(cause) => {
                    // Where one address could not even be tried, the others' silence proves nothing.
                    if !failed.is_local() {
                        failed = cause;
                    }
                    attempts.extend(waiting.next().map(attempt));
                }
            },
            () = sleep(STAGGER), if waiting.len() > 0 => attempts.extend(waiting.next().map(attempt)),
        }
    }
    Err(failed)
}

async fn attempt(address: SocketAddr) -> Result<(TcpStream, SocketAddr), Cause> {
    match TcpStream::connect(address).await {
        Ok(stream) => Ok((stream, address)),
        Err(error) if lacks_ports(&error, address) => Err(Cause::local(format!(
            "connect to {address}: no local port is free"
        ))),
        Err(error) => Err(in_words(&format!("connect to {address}"), &error)),
    }
}

fn server_name(host: &str) -> Result<ServerName<'static>, Cause> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(ServerName::from(address));
    }
    ServerName::try_from(host.to_owned()).map_err(|_| Cause::new("TLS handshake: the host is no DNS name"))
}
