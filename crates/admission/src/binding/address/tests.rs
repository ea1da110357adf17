use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use ipnet::IpNet;
use proptest::prelude::*;

use super::*;
use crate::binding::{self, UpstreamUrl};
use crate::ports::{BoxFuture, Resolver};

#[derive(serde::Deserialize)]
struct Vectors {
    never: Vec<IpAddr>,
    private: Vec<IpAddr>,
    public: Vec<IpAddr>,
}

fn policy(private: PrivateUpstreams, own_endpoints: &[OwnEndpoint]) -> EgressPolicy {
    EgressPolicy {
        private,
        allowlist: vec![],
        own_endpoints: own_endpoints.to_vec(),
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn address_vectors_are_classified() {
    let vectors: Vectors = testkit::vectors::load("addresses");
    for (addresses, reach) in [
        (vectors.never, Reach::Never),
        (vectors.private, Reach::Private),
        (vectors.public, Reach::Public),
    ] {
        assert!(!addresses.is_empty());
        for address in addresses {
            assert_eq!(classify(address), reach, "{address}");
        }
    }
}

#[test]
fn address_metadata_is_never_reachable_whatever_the_flags() {
    let all_allowed = policy(PrivateUpstreams::Allowed, &[]);
    for address in [
        "169.254.169.254",
        "169.254.170.2",
        "168.63.129.16",
        "100.100.100.200",
        "192.0.0.192",
        "fd00:ec2::254",
        "fd00:ec2::23",
        "fd20:ce::254",
        "fd00:c1::a9fe:a9fe",
        "::ffff:a9fe:a9fe",
        "::ffff:0:a9fe:a9fe",
        "::a9fe:a9fe",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b::6464:64c8",
        "64:ff9b:1::a9fe:a9fe",
        "64:ff9b:1:a9fe:a9:fe00::",
        "64:ff9b:1:a9:fe:a9fe::",
        "64:ff9b:1::a9:fea9:fe00:0",
        "2002:a9fe:a9fe::",
        "2001::5601:5601",
        "fe80::5efe:a9fe:a9fe",
        "2606:4700::200:5efe:a9fe:a9fe",
    ] {
        assert!(judge_all(&[ip(address)], 80, &all_allowed).is_err(), "{address}");
    }
}

#[test]
fn address_private_ones_need_the_flag() {
    for address in [
        "10.0.0.1",
        "127.0.0.1",
        "::1",
        "fd00::1",
        "fec0::1",
        "64:ff9b:1::808:808",
    ] {
        let address = [ip(address)];
        assert!(judge_all(&address, 80, &policy(PrivateUpstreams::Blocked, &[])).is_err());
        assert!(judge_all(&address, 80, &policy(PrivateUpstreams::Allowed, &[])).is_ok());
    }
}

#[test]
fn address_one_bad_one_among_good_ones_refuses_the_answer() {
    let strict = policy(PrivateUpstreams::Blocked, &[]);
    let (good, bad) = (ip("8.8.8.8"), ip("169.254.169.254"));
    assert_eq!(judge_all(&[good, good], 443, &strict).unwrap().len(), 2);
    assert!(judge_all(&[good, bad], 443, &strict).is_err());
    assert!(judge_all(&[bad, good], 443, &strict).is_err());
    assert!(
        judge_all(&[], 443, &strict).is_err(),
        "an empty answer is no answer"
    );
    let judged = judge_all(&[good], 443, &strict).unwrap();
    assert_eq!(judged[0].socket(), SocketAddr::new(good, 443));
}

#[test]
fn address_own_endpoints_are_refused_in_every_spelling() {
    let net = |text: &str, port| OwnEndpoint::Net(text.parse().unwrap(), port);
    let own = policy(
        PrivateUpstreams::Allowed,
        &[
            net("127.0.0.0/8", 8081),
            net("::1/128", 8081),
            net("93.184.216.34/32", 8081),
            net("2606:4700::1/128", 6379),
        ],
    );
    for (address, port, refused) in [
        ("127.0.0.1", 8081, true),
        ("127.9.9.9", 8081, true),
        ("127.0.0.1", 8080, false),
        ("::1", 8081, true),
        ("::1", 8080, false),
        ("::ffff:127.0.0.1", 8081, true),
        ("93.184.216.34", 8081, true),
        ("93.184.216.34", 443, false),
        ("64:ff9b::5db8:d822", 8081, true),
        ("2002:5db8:d822::1", 8081, true),
        ("2606:4700::1", 6379, true),
        ("2606:4700::2", 6379, false),
    ] {
        assert_eq!(
            judge_all(&[ip(address)], port, &own).is_err(),
            refused,
            "{address} {port}"
        );
    }
}

/// A resolver with a fixed table.
struct Names(&'static [(&'static str, &'static [&'static str])]);

impl Resolver for Names {
    fn resolve<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Result<Arc<[IpAddr]>, Cause>> {
        let found = self.0.iter().find(|(name, _)| *name == host);
        let answer = found
            .map(|(_, addresses)| addresses.iter().map(|address| ip(address)).collect())
            .ok_or_else(|| Cause::new("no such name"));
        Box::pin(std::future::ready(answer))
    }
}

fn ready<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the future waits"),
    }
}

#[test]
fn address_own_endpoints_named_by_host_are_refused_under_every_name_and_address() {
    let names = Names(&[
        ("sts.example", &["93.184.216.34", "2606:4700::1"]),
        ("alias.example", &["2606:4700::1"]),
        ("wrapped.example", &["64:ff9b::5db8:d822"]),
        ("mixed.example", &["8.8.8.8", "93.184.216.34"]),
        ("api.example", &["8.8.8.8"]),
        ("shared.example", &["9.9.9.9"]),
        ("neighbour.example", &["9.9.9.9"]),
    ]);
    let own = policy(
        PrivateUpstreams::Blocked,
        &[
            OwnEndpoint::Host("sts.example".to_owned(), 443),
            OwnEndpoint::Host("gone.example".to_owned(), 6380),
            OwnEndpoint::Name("anchor.example".to_owned(), 443),
            OwnEndpoint::Name("shared.example".to_owned(), 443),
        ],
    );
    for (url, refused) in [
        ("https://sts.example/", true),
        ("https://STS.example./", true),
        ("https://alias.example/", true),
        ("https://wrapped.example/", true),
        ("https://mixed.example/", true),
        ("https://93.184.216.34/", true),
        ("https://[2606:4700::1]/", true),
        ("https://[64:ff9b::5db8:d822]/", true),
        ("http://alias.example/", false),
        ("https://alias.example:8443/", false),
        // No other upstream depends on the name of one that is known by that alone, nor on its addresses.
        ("https://api.example/", false),
        ("https://anchor.example/", true),
        ("https://Shared.example./", true),
        ("https://neighbour.example/", false),
        // Whether this is the endpoint cannot be told.
        ("https://api.example:6380/", true),
        ("https://unknown.example/", true),
    ] {
        assert_eq!(
            ready(binding::judge(
                &Arc::new(UpstreamUrl::parse(url).unwrap()),
                &own,
                &names
            ))
            .is_err(),
            refused,
            "{url}"
        );
    }
}

/// The IANA special-purpose registries and the metadata addresses, as a list of networks: the
/// longest that holds an address decides, and what none holds is public.
fn table() -> Vec<(IpNet, Reach)> {
    let never = "0.0.0.0/8 169.254.0.0/16 100.100.100.200/32 168.63.129.16/32 192.0.0.0/24 192.0.2.0/24 \
        198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 240.0.0.0/4 \
        ::/128 fe80::/10 ff00::/8 fd00:ec2::254/128 fd00:ec2::23/128 fd20:ce::254/128 \
        fd00:c1::a9fe:a9fe/128 100::/64 100:0:0:1::/64 2001:db8::/32 2001:2::/48 \
        2001:10::/28 2001:20::/28 3fff::/20 5f00::/16";
    let private = "127.0.0.0/8 10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 100.64.0.0/10 \
        ::1/128 fc00::/7 fec0::/10 64:ff9b:1::/48";
    let nets = |list: &str, reach| {
        list.split_whitespace()
            .map(|net| (net.parse().unwrap(), reach))
            .collect::<Vec<_>>()
    };
    [nets(never, Reach::Never), nets(private, Reach::Private)].concat()
}

fn by_table(table: &[(IpNet, Reach)], address: IpAddr) -> Reach {
    table
        .iter()
        .filter(|(net, _)| net.contains(&address))
        .max_by_key(|(net, _)| net.prefix_len())
        .map_or(Reach::Public, |(_, reach)| *reach)
}

/// Every IPv6 form in which an IPv4 address can travel, built from its bytes.
fn wrapped(inner: Ipv4Addr) -> Vec<Ipv6Addr> {
    let [a, b, c, d] = inner.octets();
    let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    let form = |segments: [u16; 8]| Ipv6Addr::from(segments);
    vec![
        inner.to_ipv6_mapped(),
        form([0, 0, 0, 0, 0, 0, high, low]),
        form([0, 0, 0, 0, 0xffff, 0, high, low]),
        form([0x64, 0xff9b, 0, 0, 0, 0, high, low]),
        form([0x64, 0xff9b, 1, 0, 0, 0, high, low]),
        form([0x64, 0xff9b, 1, 7, 7, 7, high, low]),
        form([0x2002, high, low, 0, 0, 0, 0, 1]),
        form([0x2001, 0, 0x5db8, 0xd822, 0, 0, !high, !low]),
        form([0x2606, 0x4700, 0, 0, 0, 0x5efe, high, low]),
        form([0x2606, 0x4700, 0, 0, 0x200, 0x5efe, high, low]),
    ]
}

/// The forms under the local NAT64 prefix whose translators use shorter prefixes (RFC 6052 §2.2).
fn wrapped_short(inner: Ipv4Addr) -> [Ipv6Addr; 3] {
    let [a, b, c, d] = inner.octets();
    [
        [0, 0x64, 0xff, 0x9b, 0, 1, a, b, 0, c, d, 0, 0, 0, 0, 0],
        [0, 0x64, 0xff, 0x9b, 0, 1, 0, a, 0, b, c, d, 0, 0, 0, 0],
        [0, 0x64, 0xff, 0x9b, 0, 1, 0, 0, 0, a, b, c, d, 0, 0, 0],
    ]
    .map(Ipv6Addr::from)
}

/// Addresses that crowd around the borders of the table's networks.
fn near(table: Vec<(IpNet, Reach)>) -> impl Strategy<Value = IpAddr> {
    let borders: Vec<IpAddr> = table
        .iter()
        .flat_map(|(net, _)| [net.network(), net.broadcast()])
        .collect();
    (prop::sample::select(borders), -2_i128..=2).prop_map(|(address, step)| match address {
        IpAddr::V4(address) => {
            let moved = (i128::from(u32::from(address)) + step).rem_euclid(1 << 32);
            IpAddr::V4(u32::try_from(moved).unwrap().into())
        }
        IpAddr::V6(address) => IpAddr::V6(u128::from(address).wrapping_add_signed(step).into()),
    })
}

fn any_v4() -> impl Strategy<Value = Ipv4Addr> {
    let near = near(table()).prop_filter_map("IPv4", |address| match address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    });
    prop_oneof![near, any::<u32>().prop_map(Ipv4Addr::from)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// The classifier agrees with the registries on every address that embeds none.
    #[test]
    fn address_classes_agree_with_the_registries(address in prop_oneof![
        near(table()),
        any::<u32>().prop_map(|bits| IpAddr::V4(bits.into())),
        any::<u128>().prop_map(|bits| IpAddr::V6(bits.into())),
    ]) {
        let embeds = matches!(address, IpAddr::V6(address) if embedded(address).is_some());
        prop_assume!(!embeds || address == ip("::") || address == ip("::1"));
        prop_assert_eq!(classify(address), by_table(&table(), address));
    }

    /// No wrapping makes an IPv4 address more reachable than it is.
    #[test]
    fn address_wrappings_hide_nothing(inner in any_v4()) {
        let plain = by_table(&table(), inner.into());
        // `::1` would be the compatible form of 0.0.0.1, and is loopback.
        for outer in wrapped(inner).into_iter().filter(|outer| *outer != Ipv6Addr::LOCALHOST) {
            let reach = classify(outer.into());
            let local = outer.segments()[..3] == [0x64, 0xff9b, 1];
            match plain {
                Reach::Never => prop_assert_eq!(reach, Reach::Never, "{}", outer),
                Reach::Private => prop_assert_ne!(reach, Reach::Public, "{}", outer),
                Reach::Public if local => prop_assert_ne!(reach, Reach::Public, "{}", outer),
                Reach::Public => prop_assert_eq!(reach, Reach::Public, "{}", outer),
            }
        }
    }

    /// Nor does a local NAT64 prefix that is shorter than /96.
    #[test]
    fn address_short_local_nat64_hides_nothing(inner in any_v4()) {
        let plain = by_table(&table(), inner.into());
        prop_assume!(inner.octets()[0] != 0);
        for outer in wrapped_short(inner) {
            let reach = classify(outer.into());
            prop_assert_ne!(reach, Reach::Public, "{}", outer);
            if plain == Reach::Never {
                prop_assert_eq!(reach, Reach::Never, "{}", outer);
            }
        }
    }

    /// NAT64 to a public address works: it is how IPv6-only networks reach the IPv4 Internet.
    #[test]
    fn address_public_nat64_passes(bits in any::<u32>()) {
        let inner = Ipv4Addr::from(bits);
        prop_assume!(by_table(&table(), inner.into()) == Reach::Public);
        let outer = Ipv6Addr::from((0x0064_ff9b_u128 << 96) | u128::from(bits));
        prop_assert!(judge_all(&[outer.into()], 443, &policy(PrivateUpstreams::Blocked, &[])).is_ok());
    }
}
