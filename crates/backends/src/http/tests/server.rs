//! A server whose every step the test decides.

use std::io::{Read, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

pub(super) const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// What a server tells the test.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// The head of a request, on the n-th connection.
    Request(usize),
    /// The client closed the n-th connection.
    Closed(usize),
}

/// A server that blocks a thread of its own, so that a test can wait for it without giving the
/// runtime a turn.
pub(super) struct Server {
    pub(super) addr: SocketAddr,
    seen: Receiver<Seen>,
}

impl Server {
    /// Serves every connection with the script, which gets its number.
    pub(super) fn start(
        script: impl Fn(usize, &mut TcpStream, &Sender<Seen>) + Send + Sync + 'static,
    ) -> Self {
        Self::start_at(([127, 0, 0, 1], 0).into(), script)
    }

    pub(super) fn start_at(
        addr: SocketAddr,
        script: impl Fn(usize, &mut TcpStream, &Sender<Seen>) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(addr).unwrap();
        let addr = listener.local_addr().unwrap();
        let (sender, seen) = channel();
        let script = Arc::new(script);
        thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let (script, sender) = (Arc::clone(&script), sender.clone());
                thread::spawn(move || script(number, &mut stream.unwrap(), &sender));
            }
        });
        Self { addr, seen }
    }

    /// Answers every request with [`OK`].
    pub(super) fn echo() -> Self {
        Self::echo_at(([127, 0, 0, 1], 0).into())
    }

    pub(super) fn echo_at(addr: SocketAddr) -> Self {
        Self::start_at(addr, |number, stream, seen| {
            while request(stream) {
                let _ = seen.send(Seen::Request(number));
                let _ = stream.write_all(OK.as_bytes());
            }
            let _ = seen.send(Seen::Closed(number));
        })
    }

    /// What was seen next, if it has been.
    pub(super) fn seen(&self) -> Option<Seen> {
        self.seen.try_recv().ok()
    }

    pub(super) fn next(&self) -> Seen {
        self.seen.recv_timeout(testkit::wait::PATIENCE).unwrap()
    }
}

/// Reads a request without a body; whether there was one.
pub(super) fn request(stream: &mut impl Read) -> bool {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return false,
        }
    }
    true
}

/// Waits until the client has closed.
pub(super) fn until_closed(stream: &mut TcpStream) {
    let _ = stream.read_to_end(&mut Vec::new());
}
