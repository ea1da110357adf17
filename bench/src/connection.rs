//! The client's side of one keep-alive connection: just enough HTTP/1.1 to keep the generator's core free.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use memchr::memmem;
use testkit::http::Stream;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The longest answer.
const MAX_ANSWER: usize = 64 * 1024;
/// How long an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// An answer that has arrived completely.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer<'b> {
    /// The status.
    pub(crate) status: u16,
    /// The body.
    pub(crate) body: &'b [u8],
}

/// An open connection.
pub(crate) struct Connection {
    stream: Box<dyn Stream>,
    buffer: Vec<u8>,
}

impl Connection {
    /// Connects.
    pub(crate) async fn open(to: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        Ok(Self::over(Box::new(stream)))
    }

    /// Speaks over a stream that is already there.
    pub(crate) fn over(stream: Box<dyn Stream>) -> Self {
        Self {
            stream,
            buffer: Vec::with_capacity(4096),
        }
    }

    /// Sends a request and reads its answer. After an error the connection is of no more use.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> io::Result<Answer<'_>> {
        let run = async {
            self.stream.write_all(request).await?;
            self.stream.flush().await?;
            self.buffer.clear();
            loop {
                if self.stream.read_buf(&mut self.buffer).await? == 0 {
                    return Err(broken("closed before the answer was complete"));
                }
                if let Some(head) = Head::parse(&self.buffer)?
                    && self.buffer.len() >= head.end()
                {
                    return Ok(head);
                }
            }
        };
        let head = match tokio::time::timeout(ANSWER_TIMEOUT, run).await {
            Ok(head) => head?,
            Err(_) => return Err(broken("no answer within 20 s")),
        };
        match self.buffer.get(head.length..) {
            Some(body) if body.len() == head.body => Ok(Answer {
                status: head.status,
                body,
            }),
            _ => Err(broken("more came than the answer")),
        }
    }
}

fn broken(why: &str) -> io::Error {
    io::Error::other(why)
}

/// The head of an answer, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    /// Bytes of the head.
    length: usize,
    /// Bytes of the body.
    body: usize,
}

impl Head {
    fn end(self) -> usize {
        self.length + self.body
    }

    /// `None` while the head is incomplete. Only bodies of a declared length are understood (RFC 9112 §6.3).
    fn parse(bytes: &[u8]) -> io::Result<Option<Self>> {
        let Some(end) = memmem::find(bytes, b"\r\n\r\n") else {
            return if bytes.len() < MAX_ANSWER {
                Ok(None)
            } else {
                Err(broken("an endless head"))
            };
        };
        let head = bytes.get(..end).and_then(|head| std::str::from_utf8(head).ok());
        let mut lines = head
            .ok_or_else(|| broken("a head that is no text"))?
            .split("\r\n");
        let status = lines
            .next()
            .and_then(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok());
        let length = lines
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            .and_then(|(_, value)| value.trim().parse().ok());
        match (status, length) {
            (Some(status), Some(body)) if body <= MAX_ANSWER => Ok(Some(Self {
                status,
                length: end + 4,
                body,
            })),
            _ => Err(broken("an answer without a status or a declared length")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[test]
    fn head_is_waited_for_then_understood() {
        let text = b"HTTP/1.1 401 Unauthorized\r\nA: b\r\ncontent-LENGTH:  12 \r\n\r\nhello";
        let head_ends = text.len() - 5;
        for until in 0..head_ends {
            assert_eq!(Head::parse(&text[..until]).unwrap(), None, "{until}");
        }
        let expect = Head {
            status: 401,
            length: head_ends,
            body: 12,
        };
        assert_eq!(Head::parse(text).unwrap(), Some(expect));
    }

    #[test]
    fn head_that_is_not_understood_is_an_error() {
        for text in [
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n",
            "HTTP/1.1 20\r\nContent-Length: 1\r\n\r\n",
            "nonsense\r\n\r\n",
        ] {
            assert!(Head::parse(text.as_bytes()).is_err(), "{text}");
        }
        assert!(Head::parse(&[b'x'; MAX_ANSWER]).is_err());
    }

    /// Runs one exchange against a peer that answers with these pieces, then closes.
    async fn answered(pieces: &[&str]) -> io::Result<(u16, Vec<u8>)> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let peer = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4];
            stream.read_exact(&mut request).await.unwrap();
            for piece in pieces {
                stream.write_all(piece.as_bytes()).await.unwrap();
            }
        };
        let client = async {
            let mut connection = Connection::open(address).await?;
            let answer = connection.exchange(b"ping").await?;
            Ok((answer.status, answer.body.to_vec()))
        };
        tokio::join!(peer, client).1
    }

    #[tokio::test]
    async fn answer_is_complete_or_an_error() {
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n";
        assert_eq!(
            answered(&[head, "po", "ng"]).await.unwrap(),
            (200, b"pong".to_vec())
        );
        assert!(answered(&[head, "po"]).await.is_err());
        assert!(answered(&[head, "pong!"]).await.is_err());
        assert!(answered(&[]).await.is_err());
    }
}
