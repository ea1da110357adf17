//! The contract of [`Resolver`].

use std::net::{IpAddr, Ipv4Addr};

use admission::ports::Resolver;

/// Holds without any name server.
pub(crate) async fn resolver_contract(resolver: &dyn Resolver) {
    for name in ["localhost", "LOCALHOST"] {
        let addresses = resolver.resolve(name).await.unwrap();
        assert!(
            addresses.contains(&IpAddr::V4(Ipv4Addr::LOCALHOST)),
            "{name}: {addresses:?}"
        );
        assert!(addresses.iter().all(IpAddr::is_loopback), "{name}: {addresses:?}");
    }
    // RFC 6761 §6.4: never answered.
    assert!(resolver.resolve("no-such-host.invalid").await.is_err());
    for name in ["", "..", "a..b", &"long".repeat(100)] {
        assert!(resolver.resolve(name).await.is_err(), "{name:.20}");
    }
}
