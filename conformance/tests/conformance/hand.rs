//! An upstream that a test plays by hand: every request comes to the test, which answers it byte for byte.

use crate::wire::ask;
use std::net::{Ipv4Addr, SocketAddr};
use testkit::http::Response;
use testkit::wait::PATIENCE;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// The resource that it serves, where a world knows it ([`Builder::hand`](crate::world::Builder::hand)).
pub(crate) const HAND: &str = "resource://hand";
/// The most connections that wait for the test.
const WAITING: usize = 64;

/// An upstream on 127.0.0.1. Ends when dropped.
pub(crate) struct HandUpstream {
    addr: SocketAddr,
    calls: mpsc::Receiver<TcpStream>,
    _tasks: JoinSet<()>,
}

/// One connection of the gateway to the upstream, played by the test.
pub(crate) struct Call {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl HandUpstream {
    /// Listens on a free port.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a free port");
        let addr = listener.local_addr().expect("the address of a listener");
        let (send, calls) = mpsc::channel(WAITING);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                while connections.try_join_next().is_some() {}
                stream.set_nodelay(true).expect("a socket");
                let send = send.clone();
                // The gateway may make one ahead of a request, and not need it.
                connections.spawn(async move {
                    if matches!(stream.peek(&mut [0]).await, Ok(1)) {
                        let _ = send.send(stream).await;
                    }
                });
            }
        });
        Self {
            addr,
            calls,
            _tasks: tasks,
        }
    }

    /// Sends a request to the gateway there, answers it with these bytes, hangs up, and gives what the caller gets.
    pub(crate) async fn answer(
        &mut self,
        gateway: SocketAddr,
        request: impl AsRef<[u8]>,
        answer: impl AsRef<[u8]>,
    ) -> Response {
        let play = async {
            let mut call = self.call().await;
            call.head().await;
            call.send(answer).await;
        };
        tokio::join!(play, ask(gateway, request)).1
    }

    /// `http://127.0.0.1:<port>`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Where it listens.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The next connection over which the gateway says something.
    pub(crate) async fn call(&mut self) -> Call {
        let stream = timeout(PATIENCE, self.calls.recv())
            .await
            .expect("a connection of the gateway in time");
        Call::over(stream.expect("a running upstream"))
    }

    /// Whether nothing was said that no test took.
    pub(crate) fn is_quiet(&mut self) -> bool {
        matches!(self.calls.try_recv(), Err(mpsc::error::TryRecvError::Empty))
    }
}

impl Call {
    /// A connection that the test accepted itself.
    pub(crate) fn over(stream: TcpStream) -> Self {
        let buffer = Vec::new();
        Self { stream, buffer }
    }

    /// Reads a request head, the empty line included, byte for byte (as ISO 8859-1).
    pub(crate) async fn head(&mut self) -> String {
        let head = self.through(b"\r\n\r\n").await;
        head.into_iter().map(char::from).collect()
    }

    /// Reads up to and including `end`.
    pub(crate) async fn through(&mut self, end: &[u8]) -> Vec<u8> {
        loop {
            if let Some(at) = self.buffer.windows(end.len()).position(|window| window == end) {
                let rest = self.buffer.split_off(at + end.len());
                return std::mem::replace(&mut self.buffer, rest);
            }
            assert!(
                self.read().await > 0,
                "the gateway hung up after {:?}",
                String::from_utf8_lossy(&self.buffer)
            );
        }
    }

    /// Reads exactly this many bytes.
    pub(crate) async fn exactly(&mut self, length: usize) -> Vec<u8> {
        while self.buffer.len() < length {
            assert!(
                self.read().await > 0,
                "the gateway hung up after {} of {length} bytes",
                self.buffer.len()
            );
        }
        let rest = self.buffer.split_off(length);
        std::mem::replace(&mut self.buffer, rest)
    }

    /// Whether the gateway said nothing yet, and has not hung up.
    pub(crate) fn is_silent(&mut self) -> bool {
        let read = self.stream.try_read_buf(&mut self.buffer);
        self.buffer.is_empty() && read.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    }

    /// Reads until the gateway hangs up, and gives what came before.
    pub(crate) async fn until_end(&mut self) -> Vec<u8> {
        while self.read().await > 0 {}
        std::mem::take(&mut self.buffer)
    }

    /// Whether the gateway hangs up with a reset; what came before is read for nothing.
    pub(crate) async fn is_reset(&mut self) -> bool {
        loop {
            let read = timeout(PATIENCE, self.stream.read_buf(&mut self.buffer));
            match read.await.expect("bytes of the gateway in time") {
                Ok(0) => return false,
                Ok(_) => {}
                Err(_) => return true,
            }
        }
    }

    /// Sends bytes as they are.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        timeout(PATIENCE, self.stream.write_all(bytes.as_ref()))
            .await
            .expect("the gateway takes bytes in time")
            .expect("a gateway that listens");
    }

    /// Hangs up with a reset.
    pub(crate) fn reset(self) {
        self.stream.set_zero_linger().expect("a socket");
    }

    /// Whether sending still works; a reset of the other side shows here.
    pub(crate) async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        timeout(PATIENCE, self.stream.write_all(bytes.as_ref()))
            .await
            .expect("an answer of the kernel in time")
    }

    /// The bytes that one read gave; 0 at the end and after a reset.
    async fn read(&mut self) -> usize {
        timeout(PATIENCE, self.stream.read_buf(&mut self.buffer))
            .await
            .expect("bytes of the gateway in time")
            .unwrap_or_default()
    }
}

/// Every value of a field in a head, in order.
pub(crate) fn values(head: &str, name: &str) -> Vec<String> {
    fields(head)
        .filter(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
        .collect()
}

/// The names of a head's fields in lower case, in order.
pub(crate) fn names(head: &str) -> Vec<String> {
    fields(head).map(|(name, _)| name.to_ascii_lowercase()).collect()
}

fn fields(head: &str) -> impl Iterator<Item = (String, String)> {
    head.split("\r\n").skip(1).filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_owned(), value.trim().to_owned()))
    })
}
