//! A listener that passes bytes on and remembers what the client said.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use testkit::http::Fields;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Stands between the gateway and a plain HTTP/1.1 server. Ends when dropped.
pub(crate) struct Wiretap {
    addr: SocketAddr,
    said: Arc<Mutex<Vec<Vec<u8>>>>,
    _tasks: JoinSet<()>,
}

/// A request as it went over the wire.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// The request line.
    pub(crate) line: String,
    /// The header fields.
    pub(crate) headers: Fields,
    /// The body of `Content-Length` bytes.
    pub(crate) body: Vec<u8>,
}

impl Wiretap {
    /// Listens on a free port of 127.0.0.1 in front of `target`.
    pub(crate) async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a free port");
        let addr = listener.local_addr().expect("the address of a listener");
        let said = Arc::<Mutex<Vec<Vec<u8>>>>::default();
        let mut tasks = JoinSet::new();
        let connections = Arc::clone(&said);
        tasks.spawn(async move {
            let mut relays = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(target).await else {
                    continue;
                };
                let number = {
                    let mut said = connections.lock().expect("the record");
                    said.push(Vec::new());
                    said.len() - 1
                };
                let (from_client, mut to_client) = client.into_split();
                let (mut from_server, to_server) = server.into_split();
                let record = Arc::clone(&connections);
                relays.spawn(async move {
                    tokio::select! {
                        () = overhear(from_client, to_server, &record, number) => {}
                        // A broken connection is the business of the two ends.
                        _ = tokio::io::copy(&mut from_server, &mut to_client) => {}
                    }
                });
            }
        });
        Self {
            addr,
            said,
            _tasks: tasks,
        }
    }

    /// Where it listens.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Every complete request so far, connection by connection.
    pub(crate) fn requests(&self) -> Vec<Seen> {
        let said = self.said.lock().expect("the record");
        said.iter().flat_map(|bytes| parse(bytes)).collect()
    }
}

async fn overhear(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    record: &Mutex<Vec<Vec<u8>>>,
    number: usize,
) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        record.lock().expect("the record")[number].extend_from_slice(&buffer[..read]);
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

fn parse(mut bytes: &[u8]) -> Vec<Seen> {
    let mut requests = Vec::new();
    while let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let mut lines = head.split("\r\n").map(str::to_owned);
        let line = lines.next().unwrap_or_default();
        let headers = Fields(
            lines
                .filter_map(|line| {
                    let (name, value) = line.split_once(':')?;
                    Some((name.to_owned(), value.trim().to_owned()))
                })
                .collect(),
        );
        let length = headers.get("content-length").unwrap_or("0");
        let length: usize = length.parse().expect("a content length");
        let Some(body) = bytes.get(end + 4..end + 4 + length) else {
            break;
        };
        requests.push(Seen {
            line,
            headers,
            body: body.to_vec(),
        });
        bytes = &bytes[end + 4 + length..];
    }
    requests
}
