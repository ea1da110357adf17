//! What the kernel does where the other end of a connection is gone: keepalive on silent connections, the same on all
//! of them, and a limit on bytes that nobody acknowledges (`TCP_USER_TIMEOUT`).

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

/// How long sent bytes may stay without acknowledgement at least on connections that the gateway makes, and how long their
/// peer may take none. The kernel applies it to keepalive too: with a shorter one the first question without an answer would end a
/// connection.
pub const UNACKNOWLEDGED: Duration =
    Duration::from_secs(IDLE.as_secs() + INTERVAL.as_secs() * RETRIES as u64);

/// The longest that the kernel knows: it counts milliseconds in 31 bits.
const LONGEST: Duration = Duration::from_millis(i32::MAX as u64);

/// Sets keepalive on a socket. What a listener accepts has it from the listener.
///
/// # Errors
/// The system's.
pub fn enable(socket: &impl AsFd) -> io::Result<()> {
    SockRef::from(socket).set_tcp_keepalive(&settings())
}

/// Sets both on a connection that the gateway made, whose peer may be waited for this long.
///
/// # Errors
/// The system's.
pub(crate) fn enable_both(socket: &impl AsFd, patience: Duration) -> io::Result<()> {
    enable(socket)?;
    SockRef::from(socket).set_tcp_user_timeout(Some(patience.clamp(UNACKNOWLEDGED, LONGEST)))
}

/// Keepalive for libraries that make their sockets themselves.
#[must_use]
pub fn settings() -> TcpKeepalive {
    TcpKeepalive::new()
        .with_time(IDLE)
        .with_interval(INTERVAL)
        .with_retries(RETRIES)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    use socket2::SockRef;

    use super::{IDLE, LONGEST, UNACKNOWLEDGED, enable_both};

    #[test]
    fn connections_that_the_gateway_makes_end_when_nobody_acknowledges() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let socket = SockRef::from(&stream);
        for (patience, expect) in [
            (Duration::ZERO, UNACKNOWLEDGED),
            (UNACKNOWLEDGED * 2, UNACKNOWLEDGED * 2),
            (Duration::MAX, LONGEST),
        ] {
            enable_both(&stream, patience).unwrap();
            assert_eq!(socket.tcp_keepalive_time().unwrap(), IDLE);
            assert_eq!(socket.tcp_user_timeout().unwrap(), Some(expect));
        }
    }
}
