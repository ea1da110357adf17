//! Loopback addresses that no other test gets, in this process or any other.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

/// A TCP address kept for one owner as long as this lives.
///
/// The mark is a UDP socket on the same address: the kernel gives it to one process only, and it does not stand in
/// the way of the TCP listener for which the address is kept.
#[derive(Debug)]
pub(crate) struct Reserved {
    addr: SocketAddr,
    _mark: UdpSocket,
}

impl Reserved {
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub(crate) fn port(&self) -> u16 {
        self.addr.port()
    }

    fn take(addr: SocketAddr) -> Option<Self> {
        let mark = UdpSocket::bind(addr).ok()?;
        // Also free for TCP: the listener is closed at once and leaves nothing behind.
        drop(TcpListener::bind(addr).ok()?);
        Some(Self { addr, _mark: mark })
    }
}

/// A free port of 127.0.0.1, below the range that outgoing connections use.
pub(crate) fn port() -> Reserved {
    for _ in 0..1000 {
        let mut random = [0; 2];
        aws_lc_rs::rand::fill(&mut random).expect("random bytes");
        let port = 10_000 + u16::from_ne_bytes(random) % 20_000;
        if let Some(reserved) = Reserved::take((Ipv4Addr::LOCALHOST, port).into()) {
            return reserved;
        }
    }
    panic!("no free port on 127.0.0.1");
}

/// A loopback address of its own with this port, for a process whose port is fixed.
pub(crate) fn loopback(port: u16) -> Reserved {
    (2..=254)
        .find_map(|last| Reserved::take((IpAddr::from([127, 0, 0, last]), port).into()))
        .unwrap_or_else(|| {
            panic!("port {port} is taken on every loopback address: does something listen on 0.0.0.0?")
        })
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_address_is_kept_until_it_is_dropped() {
        let first = super::loopback(8081);
        let second = super::loopback(8081);
        assert_ne!(first.addr(), second.addr());
        assert_ne!(super::port().port(), 0);
        std::net::TcpListener::bind(first.addr()).expect("the mark does not stand in the way of TCP");
    }
}
