//! HTTP/2 frame by frame (RFC 9113), for what no client library would send.

use crate::world::NONE;
use std::net::SocketAddr;
use testkit::http::Stream;
use testkit::wait::PATIENCE;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Frame types (RFC 9113 §6).
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

/// Flags.
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// How a header block begins that says `:status: 431` for the first time on its connection: a literal with an indexed
/// name (RFC 7541 §6.2.1), Huffman coded.
pub(crate) const STATUS_431: [u8; 5] = [0x48, 0x83, 0x69, 0x90, 0xff];

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// A frame to send.
    pub(crate) fn new(kind: u8, flags: u8, stream: u32, payload: impl Into<Vec<u8>>) -> Self {
        Self {
            kind,
            flags,
            stream,
            payload: payload.into(),
        }
    }

    /// The bytes on the wire.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let length = u32::try_from(self.payload.len())
            .expect("a short frame")
            .to_be_bytes();
        let mut bytes = length[1..].to_vec();
        bytes.extend([self.kind, self.flags]);
        bytes.extend(self.stream.to_be_bytes());
        bytes.extend(&self.payload);
        bytes
    }

    /// The error code of a `RST_STREAM` or `GOAWAY`.
    pub(crate) fn code(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        let code = self.payload.get(at..at + 4).expect("an error code");
        u32::from_be_bytes(code.try_into().expect("four bytes"))
    }
}

/// A header block of literal fields without indexing and without Huffman coding (RFC 7541 §6.2.2).
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        bytes.push(0);
        for text in [name, value] {
            length(&mut bytes, text.len());
            bytes.extend(text.as_bytes());
        }
    }
    bytes
}

/// The header block of a request with this mandate, and with these further fields.
pub(crate) fn request(
    method: &str,
    token: &str,
    resource: &str,
    path: &str,
    further: &[(&str, &str)],
) -> Vec<u8> {
    let bearer = format!("Bearer {token}");
    let mut fields = vec![
        (":method", method),
        (":scheme", "http"),
        (":authority", "gateway.example"),
        (":path", path),
        ("authorization", &bearer),
        ("x-caracal-resource", resource),
    ];
    fields.extend_from_slice(further);
    block(&fields)
}

/// A whole request without a body.
pub(crate) fn get(token: &str, stream: u32, path: &str, further: &[(&str, &str)]) -> Frame {
    let block = request("GET", token, NONE, path, further);
    Frame::new(HEADERS, END_STREAM | END_HEADERS, stream, block)
}

/// A string length: an integer with a prefix of seven bits (RFC 7541 §5.1).
fn length(bytes: &mut Vec<u8>, length: usize) {
    if length < 127 {
        bytes.push(u8::try_from(length).expect("seven bits"));
        return;
    }
    bytes.push(127);
    let mut rest = length - 127;
    while rest >= 128 {
        bytes.push(u8::try_from(rest % 128).expect("seven bits") | 128);
        rest /= 128;
    }
    bytes.push(u8::try_from(rest).expect("seven bits"));
}

/// A client's connection.
pub(crate) struct Frames {
    stream: Box<dyn Stream>,
}

impl Frames {
    /// A connection over plain TCP.
    pub(crate) async fn open(addr: SocketAddr) -> Self {
        Self::over(Box::new(TcpStream::connect(addr).await.expect("a connection"))).await
    }

    /// Sends the preface and empty settings.
    pub(crate) async fn over(stream: Box<dyn Stream>) -> Self {
        let mut frames = Self { stream };
        let mut opening = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        opening.extend(Frame::new(SETTINGS, 0, 0, []).encode());
        frames.send_bytes(&opening).await.expect("an open connection");
        frames
    }

    /// Sends frames in one piece; an error when the peer has hung up.
    pub(crate) async fn send(&mut self, frames: &[Frame]) -> std::io::Result<()> {
        let bytes: Vec<u8> = frames.iter().flat_map(Frame::encode).collect();
        self.send_bytes(&bytes).await
    }

    async fn send_bytes(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        timeout(PATIENCE, async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        })
        .await
        .expect("the peer takes bytes in time")
    }

    /// The next frame; none when the peer has hung up.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        let read = async {
            self.stream.read_exact(&mut head).await?;
            let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
            let mut payload = vec![0; length];
            self.stream.read_exact(&mut payload).await?;
            Ok::<_, std::io::Error>(payload)
        };
        let payload = timeout(PATIENCE, read).await.expect("a frame in time").ok()?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7fff_ffff;
        Some(Frame::new(head[3], head[4], stream, payload))
    }

    /// The next frame for which `wanted` holds; none when the peer hangs up before it.
    pub(crate) async fn find(&mut self, wanted: impl Fn(&Frame) -> bool) -> Option<Frame> {
        loop {
            let frame = self.next().await?;
            if wanted(&frame) {
                return Some(frame);
            }
        }
    }
}
