//! TCP keepalive, the same on every connection: the kernel finds out that the other end of a silent one is gone.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

/// How long a connection is silent before the kernel asks the other end for the first time.
pub const IDLE: Duration = Duration::from_secs(30);
/// How long it waits for each answer.
pub const INTERVAL: Duration = Duration::from_secs(10);
/// How many questions may stay without an answer: the last one ends the connection, a minute after its last byte.
pub const RETRIES: u32 = 3;

/// Sets it on a socket. What a listener accepts has it from the listener.
///
/// # Errors
/// The system's.
pub fn enable(socket: &impl AsFd) -> io::Result<()> {
    SockRef::from(socket).set_tcp_keepalive(&settings())
}

/// The same for libraries that make their sockets themselves.
#[must_use]
pub fn settings() -> TcpKeepalive {
    TcpKeepalive::new()
        .with_time(IDLE)
        .with_interval(INTERVAL)
        .with_retries(RETRIES)
}
