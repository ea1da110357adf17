//! What can be dialled.

use std::net::{IpAddr, SocketAddr};

use admission::binding::JudgedAddress;

/// An address that someone judged. Not open to other crates: they dial what a [`Dispatch`](forwarding::Dispatch) holds or,
/// ahead of one, a [`JudgedUpstream`](admission::binding::JudgedUpstream). This one dials the configured STS and the anchor,
/// too.
pub(crate) trait Dialable: Copy + Send + Sync {
    fn socket(self) -> SocketAddr;
}

impl Dialable for JudgedAddress {
    fn socket(self) -> SocketAddr {
        JudgedAddress::socket(self)
    }
}

impl Dialable for SocketAddr {
    fn socket(self) -> SocketAddr {
        self
    }
}

/// The order in which addresses are tried: families alternate, IPv6 first (RFC 8305 §4).
pub(super) fn in_order<A: Dialable>(addresses: &[A]) -> Vec<SocketAddr> {
    let family = |wanted: fn(&IpAddr) -> bool| {
        addresses
            .iter()
            .map(|address| address.socket())
            .filter(move |socket| wanted(&socket.ip()))
    };
    let (mut six, mut four) = (family(IpAddr::is_ipv6), family(IpAddr::is_ipv4));
    let mut order = Vec::with_capacity(addresses.len());
    loop {
        let pair = [six.next(), four.next()];
        if pair == [None, None] {
            return order;
        }
        order.extend(pair.into_iter().flatten());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_alternate_between_the_families_and_keep_their_order() {
        let socket = |text: &str| SocketAddr::new(text.parse().unwrap(), 80);
        let given = ["192.0.2.1", "192.0.2.2", "2001:db8::1", "192.0.2.3"].map(socket);
        let expect = ["2001:db8::1", "192.0.2.1", "192.0.2.2", "192.0.2.3"].map(socket);
        assert_eq!(in_order(&given), expect);
        assert_eq!(in_order::<SocketAddr>(&[]), []);
    }
}
