//! The PROXY protocol, versions 1 and 2: whose connection a proxy passes on, as it says before the caller's first byte.
//!
//! See <https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt>.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use forwarding::TrustedProxies;
use proxy_header::{ParseConfig, Protocol, ProxyHeader};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

const V1: &[u8] = b"PROXY ";
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// The longest header of version 1, its line break included (§2.1).
const MAX_V1_BYTES: usize = 107;
/// What every header of version 2 begins with: signature, command, family, length.
const V2_FIXED_BYTES: usize = 16;
/// Most bytes behind that. Proxies that tell everything they know of a TLS connection stay well below.
const MAX_V2_BYTES: usize = 4096;
/// The command of a connection that the proxy makes for itself, such as a health check.
const LOCAL: u8 = 0x20;
/// How often it is looked for more of a beginning that could be both. The socket cannot tell of the rest alone.
const PEEK_INTERVAL: Duration = Duration::from_millis(5);

/// Which proxies say whose connection they pass on.
#[derive(Debug)]
pub struct ProxyHeaders {
    /// The proxies that are believed.
    pub trusted: TrustedProxies,
    /// Whether a connection without a header is not served.
    pub are_required: bool,
}

/// Why a connection is not served.
#[derive(Debug, thiserror::Error)]
pub enum ProxyHeaderError {
    /// A header is required, and the other end may not send one.
    #[error("a PROXY header is required, and this peer is not among TRUSTED_PROXIES")]
    Untrusted,
    /// A header is required, and there is none.
    #[error("a PROXY header is required")]
    Missing,
    /// It did not come within `READ_HEADER_TIMEOUT`.
    #[error("no PROXY header within READ_HEADER_TIMEOUT")]
    Late,
    /// What is there is no header of version 1 or 2.
    #[error("malformed PROXY header")]
    Malformed,
    /// The connection broke.
    #[error(transparent)]
    Broken(#[from] io::Error),
}

enum Version {
    One,
    Two,
}

impl ProxyHeaders {
    /// Takes the header off, and gives the caller's address: the peer's own where there is no header, or where the proxy
    /// speaks for itself.
    ///
    /// # Errors
    /// The connection is not to be served.
    pub async fn caller(
        &self,
        stream: &mut TcpStream,
        peer: SocketAddr,
    ) -> Result<SocketAddr, ProxyHeaderError> {
        if !self.trusted.contains(peer.ip()) {
            return match self.are_required {
                true => Err(ProxyHeaderError::Untrusted),
                false => Ok(peer),
            };
        }
        let header = match version(stream).await? {
            None if self.are_required => return Err(ProxyHeaderError::Missing),
            None => return Ok(peer),
            Some(Version::One) => line(stream).await?,
            Some(Version::Two) => match binary(stream).await? {
                // Whatever else it says of that connection does not count (§2.2).
                local if local.get(V2.len()) == Some(&LOCAL) => return Ok(peer),
                proxied => proxied,
            },
        };
        let config = ParseConfig {
            include_tlvs: false,
            ..ParseConfig::default()
        };
        let parsed = ProxyHeader::parse(&header, config);
        let (parsed, length) = parsed.map_err(|_| ProxyHeaderError::Malformed)?;
        match parsed.proxied_address() {
            _ if length != header.len() => Err(ProxyHeaderError::Malformed),
            None => Ok(peer),
            Some(told) if told.protocol == Protocol::Stream => {
                let source = told.source;
                Ok(SocketAddr::new(source.ip().to_canonical(), source.port()))
            }
            Some(_) => Err(ProxyHeaderError::Malformed),
        }
    }
}

/// Which version the connection begins with, as soon as its bytes tell.
async fn version(stream: &TcpStream) -> io::Result<Option<Version>> {
    let mut seen = [0; V2.len()];
    loop {
        let count = stream.peek(&mut seen).await?;
        let seen = seen.get(..count).unwrap_or_default();
        if seen.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if seen.starts_with(V1) {
            return Ok(Some(Version::One));
        }
        if seen == V2 {
            return Ok(Some(Version::Two));
        }
        if !V1.starts_with(seen) && !V2.starts_with(seen) {
            return Ok(None);
        }
        tokio::time::sleep(PEEK_INTERVAL).await;
    }
}

/// A header of version 1, byte by byte: what follows is the caller's.
async fn line(stream: &mut TcpStream) -> Result<Vec<u8>, ProxyHeaderError> {
    let mut line = Vec::with_capacity(MAX_V1_BYTES);
    while line.last() != Some(&b'\n') {
        if line.len() == MAX_V1_BYTES {
            return Err(ProxyHeaderError::Malformed);
        }
        line.push(stream.read_u8().await?);
    }
    Ok(line)
}

/// A header of version 2, whose length it says itself.
async fn binary(stream: &mut TcpStream) -> Result<Vec<u8>, ProxyHeaderError> {
    let mut header = vec![0; V2_FIXED_BYTES];
    stream.read_exact(&mut header).await?;
    let length = header
        .last_chunk::<2>()
        .map_or(0, |length| u16::from_be_bytes(*length));
    let length = usize::from(length);
    if length > MAX_V2_BYTES {
        return Err(ProxyHeaderError::Malformed);
    }
    header.resize(V2_FIXED_BYTES + length, 0);
    let rest = header.get_mut(V2_FIXED_BYTES..).unwrap_or_default();
    stream.read_exact(rest).await?;
    Ok(header)
}
