//! Closing a listener whose port others have bound too (`SO_REUSEPORT`), so that no caller notices.
//!
//! The kernel ties each connection to one listener with its first segment, and closing that listener resets what it was
//! still to accept, handshakes included, unless `net.ipv4.tcp_migrate_req` gives them to another one. So a listener first
//! drops first segments. Their senders send them again after a second (RFC 6298 §2), when it is gone and another takes them.

use std::io;
use std::time::Duration;

use socket2::{SockFilter, SockRef};
use tokio::net::TcpListener;

/// How long handshakes that have begun may take. Shorter than the second after which a first segment is sent again.
pub(super) const HANDSHAKES: Duration = Duration::from_millis(250);

/// Whether a listener that closes leaves its connections to others of its port.
const MIGRATES: &str = "/proc/sys/net/ipv4/tcp_migrate_req";

/// Classic BPF over the TCP header: drops a segment with SYN and without ACK, passes every other one.
const DROP_FIRST_SEGMENTS: [SockFilter; 5] = [
    // A = the byte of the flags.
    SockFilter::new(0x30, 0, 0, 13),
    // A &= ACK | SYN.
    SockFilter::new(0x54, 0, 0, 0x12),
    // Goes on where A is SYN alone, else skips one.
    SockFilter::new(0x15, 0, 1, 0x02),
    SockFilter::new(0x06, 0, 0, 0),
    SockFilter::new(0x06, 0, 0, u32::MAX),
];

/// Whether the kernel gives what a closing listener has not accepted to another one of its port.
pub(super) fn migrates() -> bool {
    std::fs::read(MIGRATES).is_ok_and(|setting| setting.trim_ascii() == b"1")
}

/// Has the kernel drop what would begin a connection to this listener.
pub(super) fn refuse_new(socket: &TcpListener) -> io::Result<()> {
    SockRef::from(socket).attach_filter(&DROP_FIRST_SEGMENTS)
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Write as _};
    use std::net::TcpStream as Client;

    use super::*;

    /// How long a connection that is taken on loopback never takes.
    const SILENCE: Duration = Duration::from_millis(50);

    #[tokio::test]
    async fn shared_port_takes_what_has_begun_and_leaves_the_rest_to_others() {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let begun = Client::connect(address).unwrap();
        refuse_new(&socket).unwrap();
        let late = Client::connect_timeout(&address, SILENCE).unwrap_err();
        assert_eq!(
            late.kind(),
            ErrorKind::TimedOut,
            "not refused, so that it is tried again"
        );
        let (accepted, from) = socket.accept().await.unwrap();
        assert_eq!(from, begun.local_addr().unwrap());
        // What was accepted is not in the way of what its peer sends.
        accepted.writable().await.unwrap();
        (&begun).write_all(b"x").unwrap();
        accepted.readable().await.unwrap();
        assert_eq!(accepted.try_read(&mut [0; 2]).unwrap(), 1);
    }
}
