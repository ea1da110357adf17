//! HTTP/1.1 byte for byte: what is sent is sent as written, and what comes back is told as it came, including how it
//! ended.

mod response;

pub use response::{Ending, Fields, Head, Piece, Response, Rest};

use crate::wait::PATIENCE;
use bytes::{Buf, BytesMut};
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A byte stream, plain or TLS.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

enum Framing {
    Length(u64),
    Chunks,
    UntilClose,
}

/// A client's connection. Every read waits at most [`PATIENCE`], then panics.
pub struct Connection {
    stream: Box<dyn Stream>,
    buffer: BytesMut,
    framing: Framing,
    interim: Vec<Head>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("unread", &self.buffer)
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// Connects without TLS.
    pub async fn open(addr: SocketAddr) -> Self {
        let stream = timeout(PATIENCE, TcpStream::connect(addr))
            .await
            .expect("a connection in time");
        let stream = stream.unwrap_or_else(|error| panic!("{addr}: {error}"));
        stream.set_nodelay(true).expect("a socket");
        Self::over(Box::new(stream))
    }

    /// Connects without TLS; dropped, the connection is reset.
    pub async fn open_abrupt(addr: SocketAddr) -> Self {
        let stream = timeout(PATIENCE, TcpStream::connect(addr))
            .await
            .expect("a connection in time");
        let stream = stream.unwrap_or_else(|error| panic!("{addr}: {error}"));
        stream.set_nodelay(true).expect("a socket");
        stream.set_zero_linger().expect("a socket");
        Self::over(Box::new(stream))
    }

    /// Speaks over a stream that is already there, such as one of [`tls::connect`](crate::tls::connect).
    pub fn over(stream: Box<dyn Stream>) -> Self {
        Self {
            stream,
            buffer: BytesMut::new(),
            framing: Framing::Length(0),
            interim: Vec::new(),
        }
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// When the peer has hung up.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        timeout(PATIENCE, async {
            self.stream.write_all(bytes.as_ref()).await?;
            self.stream.flush().await
        })
        .await
        .expect("the peer takes bytes in time")
    }

    /// Sends nothing more; the peer sees the end of our bytes, and we still read.
    pub async fn finish(&mut self) {
        // It may have hung up already.
        let _ = self.stream.shutdown().await;
    }

    /// Sends a request and reads the response. A peer that answers and hangs up before it has read all is fine.
    pub async fn exchange(&mut self, request: impl AsRef<[u8]>) -> Response {
        let request = request.as_ref();
        let _ = self.send(request).await;
        self.response_to(request.starts_with(b"HEAD ")).await
    }

    /// Reads a response to its end.
    pub async fn response(&mut self) -> Response {
        self.response_to(false).await
    }

    async fn response_to(&mut self, head_only: bool) -> Response {
        let head = self.head().await;
        if head_only {
            self.framing = Framing::Length(0);
        }
        let (mut body, mut chunks) = (Vec::new(), Vec::new());
        loop {
            let chunked = matches!(self.framing, Framing::Chunks);
            match self.piece().await {
                Piece::Data(data) => {
                    if chunked {
                        chunks.push(data.len());
                    }
                    body.extend_from_slice(&data);
                }
                Piece::End(ending, trailers) => {
                    let interim = std::mem::take(&mut self.interim);
                    return Response {
                        head,
                        interim,
                        body,
                        chunks,
                        trailers,
                        ending,
                    };
                }
            }
        }
    }

    /// Reads the head of the next final response; [`piece`](Self::piece) gives its body.
    ///
    /// # Panics
    /// When the connection ends before it, or it is no head.
    pub async fn head(&mut self) -> Head {
        self.try_head()
            .await
            .expect("a response head before the connection ended")
    }

    /// The head of the next final response, or how the connection ended instead.
    ///
    /// # Errors
    /// [`Ending::Truncated`] or [`Ending::Reset`].
    pub async fn try_head(&mut self) -> Result<Head, Ending> {
        loop {
            let head = self.any_head().await?;
            if (100..200).contains(&head.status) && head.status != 101 {
                self.interim.push(head);
                continue;
            }
            self.framing = framing(&head);
            return Ok(head);
        }
    }

    /// Waits for an interim answer: the final one comes behind it.
    ///
    /// # Panics
    /// When the connection ends before it, or the answer is none.
    pub async fn interim(&mut self) -> Head {
        let head = self.any_head().await.expect("an interim answer");
        assert!((100..200).contains(&head.status), "an interim answer: {head:?}");
        head
    }

    async fn any_head(&mut self) -> Result<Head, Ending> {
        let text = self.through(b"\r\n\r\n").await?;
        let text = String::from_utf8(text).expect("a response head in UTF-8");
        let (line, fields) = text.split_once("\r\n").expect("a status line");
        let code = line.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5));
        let status = code
            .and_then(|code| code.parse().ok())
            .unwrap_or_else(|| panic!("status line {line:?}"));
        Ok(Head {
            line: line.to_owned(),
            status,
            headers: parse_fields(fields),
        })
    }

    /// The next piece of the body of the response whose head was read.
    pub async fn piece(&mut self) -> Piece {
        match self.next_piece().await {
            Ok(piece) => piece,
            Err(ending) => Piece::End(ending, Fields::default()),
        }
    }

    async fn next_piece(&mut self) -> Result<Piece, Ending> {
        match self.framing {
            Framing::Length(0) => Ok(Piece::End(Ending::Complete, Fields::default())),
            Framing::Length(left) => {
                self.fill(1).await?;
                let take = self.buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                self.framing = Framing::Length(left - take as u64);
                Ok(Piece::Data(self.buffer.split_to(take).to_vec()))
            }
            Framing::UntilClose => match self.fill(1).await {
                Ok(()) => Ok(Piece::Data(self.buffer.split().to_vec())),
                Err(Ending::Truncated) => Ok(Piece::End(Ending::Closed, Fields::default())),
                Err(ending) => Err(ending),
            },
            Framing::Chunks => {
                let line = self.through(b"\r\n").await?;
                let line = String::from_utf8(line).expect("a chunk size");
                let size = line.trim_end().split(';').next().unwrap_or_default();
                let size = usize::from_str_radix(size, 16).unwrap_or_else(|_| panic!("chunk size {line:?}"));
                if size > 0 {
                    self.fill(size + 2).await?;
                    let data = self.buffer.split_to(size).to_vec();
                    assert_eq!(&self.buffer[..2], b"\r\n", "the end of a chunk");
                    self.buffer.advance(2);
                    return Ok(Piece::Data(data));
                }
                let mut trailers = String::new();
                loop {
                    let line = self.through(b"\r\n").await?;
                    if line == b"\r\n" {
                        self.framing = Framing::Length(0);
                        return Ok(Piece::End(Ending::Complete, parse_fields(&trailers)));
                    }
                    trailers += &String::from_utf8(line).expect("a trailer in UTF-8");
                }
            }
        }
    }

    /// What comes within this time when nothing should: a second response, the end, or nothing.
    pub async fn rest(&mut self, within: Duration) -> Rest {
        if self.buffer.is_empty() {
            match timeout(within, self.read()).await {
                Err(_) => return Rest::Silence,
                Ok(Err(Ending::Reset)) => return Rest::Reset,
                Ok(Err(_)) => return Rest::Closed,
                Ok(Ok(())) => {}
            }
        }
        Rest::Bytes(self.buffer.split().to_vec())
    }

    /// Everything up to and including `end`.
    async fn through(&mut self, end: &[u8]) -> Result<Vec<u8>, Ending> {
        loop {
            if let Some(at) = self.buffer.windows(end.len()).position(|window| window == end) {
                return Ok(self.buffer.split_to(at + end.len()).to_vec());
            }
            self.fill(self.buffer.len() + 1).await?;
        }
    }

    async fn fill(&mut self, length: usize) -> Result<(), Ending> {
        while self.buffer.len() < length {
            let Ok(read) = timeout(PATIENCE, self.read()).await else {
                panic!("nothing came for {PATIENCE:?}; unread: {:?}", self.buffer);
            };
            read?;
        }
        Ok(())
    }

    async fn read(&mut self) -> Result<(), Ending> {
        match self.stream.read_buf(&mut self.buffer).await {
            Ok(0) => Err(Ending::Truncated),
            Ok(_) => Ok(()),
            Err(_) => Err(Ending::Reset),
        }
    }
}

fn framing(head: &Head) -> Framing {
    let last_coding = head.headers.all("transfer-encoding").last().unwrap_or_default();
    if matches!(head.status, 204 | 304) {
        Framing::Length(0)
    } else if last_coding.to_ascii_lowercase().ends_with("chunked") {
        Framing::Chunks
    } else if let Some(length) = head.headers.get("content-length") {
        Framing::Length(
            length
                .parse()
                .unwrap_or_else(|_| panic!("content-length {length:?}")),
        )
    } else {
        Framing::UntilClose
    }
}

fn parse_fields(text: &str) -> Fields {
    let field = |line: &str| {
        let (name, value) = line
            .split_once(':')
            .unwrap_or_else(|| panic!("header line {line:?}"));
        (name.to_owned(), value.trim_matches([' ', '\t']).to_owned())
    };
    Fields(
        text.split("\r\n")
            .filter(|line| !line.is_empty())
            .map(field)
            .collect(),
    )
}

/// `GET path` with these header fields, on a connection of its own.
pub async fn get(addr: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Response {
    request(addr, "GET", path, headers, b"").await
}

/// A well-formed request on a connection of its own: `Host`, `Connection: close`, these header fields, and a
/// `Content-Length` when there is a body.
pub async fn request(
    addr: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Response {
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n");
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    if !body.is_empty() {
        text += &format!("Content-Length: {}\r\n", body.len());
    }
    text += "\r\n";
    Connection::open(addr)
        .await
        .exchange([text.as_bytes(), body].concat())
        .await
}

/// Writes all of `bytes`.
pub async fn write_all(stream: &mut (impl Stream + ?Sized), bytes: &[u8]) {
    timeout(PATIENCE, stream.write_all(bytes))
        .await
        .expect("the peer takes bytes in time")
        .expect("an open stream");
    stream.flush().await.expect("an open stream");
}

/// Reads exactly `length` bytes.
pub async fn read_exactly(stream: &mut (impl Stream + ?Sized), length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    timeout(PATIENCE, stream.read_exact(&mut bytes))
        .await
        .expect("bytes in time")
        .expect("an open stream");
    bytes
}

#[cfg(test)]
mod tests;
