//! Faults of this process: they say nothing about the server that could not be reached.

use std::error::Error;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;

use admission::ports::Cause;
use rustix::io::Errno;

/// The cause in these words: a [`Cause::local`] where an error below this one says that this process, or its machine,
/// is out of descriptors or memory.
pub(crate) fn cause(words: String, error: &(dyn Error + 'static)) -> Cause {
    let lacking = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::NOBUFS];
    let local = std::iter::successors(Some(error), |&error| error.source())
        .filter_map(|error| {
            // The Redis library names a shared error as its source, which hides what is inside.
            let shared = error.downcast_ref::<Arc<dyn Error + Send + Sync>>();
            let error: &(dyn Error + 'static) = shared.map_or(error, |inside| &**inside);
            Errno::from_io_error(error.downcast_ref()?)
        })
        .any(|errno| lacking.contains(&errno));
    if local {
        Cause::local(words)
    } else {
        Cause::new(words)
    }
}

/// Whether a TCP connection to this address failed because every local port is taken.
///
/// The kernel says the same where it has no address of that family to dial from; then a UDP socket cannot be
/// connected there either.
pub(crate) fn lacks_ports(error: &io::Error, peer: SocketAddr) -> bool {
    let any = match peer.ip() {
        IpAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    Errno::from_io_error(error) == Some(Errno::ADDRNOTAVAIL)
        && UdpSocket::bind((any, 0)).is_ok_and(|socket| socket.connect(peer).is_ok())
}

#[cfg(test)]
mod tests {
    use super::{Errno, cause, io, lacks_ports};

    #[test]
    fn causes_are_local_where_the_system_is_out_of_something() {
        for (errno, local) in [
            (Errno::MFILE, true),
            (Errno::NFILE, true),
            (Errno::NOMEM, true),
            (Errno::NOBUFS, true),
            (Errno::CONNREFUSED, false),
            (Errno::HOSTUNREACH, false),
        ] {
            let error = io::Error::from(errno);
            assert_eq!(cause("words".to_owned(), &error).is_local(), local, "{error}");
            let shared = redis::RedisError::from(error);
            assert_eq!(cause("words".to_owned(), &shared).is_local(), local, "{shared}");
        }
    }

    #[test]
    fn ports_are_lacking_only_where_there_is_an_address_to_dial_from() {
        let taken = io::Error::from(Errno::ADDRNOTAVAIL);
        assert!(lacks_ports(&taken, "127.0.0.1:9".parse().unwrap()));
        // No UDP socket may be connected to it, so that nothing can be told.
        assert!(!lacks_ports(&taken, "255.255.255.255:9".parse().unwrap()));
        let refused = io::Error::from(Errno::CONNREFUSED);
        assert!(!lacks_ports(&refused, "127.0.0.1:9".parse().unwrap()));
    }
}
