//! Which of several addresses is dialled, and for how long.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use admission::binding::{JudgedUpstream, UpstreamUrl, judge};
use admission::limits::{EgressPolicy, OwnEndpoint, PrivateUpstreams};
use http_body_util::{BodyExt as _, Full};
use testkit::clock::FixedClock;
use testkit::dns::NameServer;

use super::super::connections::Target;
use super::server::Server;
use super::{Fixture, Marks, PoolLimits, SendFailure, get};
use crate::dns::{DnsResolver, SystemFiles};

#[tokio::test]
async fn dial_goes_on_to_the_next_address_and_fails_with_the_last() {
    let (server, fixture) = (Server::echo(), Fixture::new(PoolLimits::default()));
    let refusing: SocketAddr = {
        let listener = TcpListener::bind(("127.0.0.3", 0)).unwrap();
        listener.local_addr().unwrap()
    };
    let response = fixture.head("a", &[refusing, server.addr], &()).await;
    assert_eq!(response.unwrap().status(), 200);
    let marks = Marks::default();
    for addresses in [&[refusing][..], &[]] {
        let failed = fixture.head("b", addresses, &marks).await.err().unwrap();
        assert!(matches!(failed, SendFailure::Connect(_)), "{failed:?}");
    }
    assert!(marks.0.lock().unwrap().is_empty(), "nothing can have left");
}

#[tokio::test]
async fn dial_does_not_wait_for_an_address_that_says_nothing() {
    let (server, fixture) = (Server::echo(), Fixture::new(PoolLimits::default()));
    // A listener whose backlog is full swallows further connections.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket
        .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
        .unwrap();
    socket.listen(0).unwrap();
    let silent = socket.local_addr().unwrap().as_socket().unwrap();
    let _fill = TcpStream::connect(silent).unwrap();
    let wait = Duration::from_millis(100);
    assert!(
        TcpStream::connect_timeout(&silent, wait).is_err(),
        "the backlog is full"
    );
    let addresses = [silent, server.addr];
    // All addresses together have five seconds: the silent one alone would use them up.
    let mut response = Box::pin(fixture.head("a", &addresses, &()));
    assert!(futures_util::poll!(&mut response).is_pending());
    assert_eq!(attempts(silent), 1, "the first one is tried alone");
    assert_eq!(response.await.unwrap().status(), 200);
    assert_eq!(attempts(silent), 0, "the loser is given up");
    assert_eq!(fixture.client.stats().dialled, 1);
}

/// How many connections to this address are being made (`SYN_SENT`, proc_net_tcp(5)).
fn attempts(to: SocketAddr) -> usize {
    let SocketAddr::V4(to) = to else { return 0 };
    let (address, port) = (u32::from_ne_bytes(to.ip().octets()), to.port());
    let wanted = format!(" {address:08X}:{port:04X} 02 ");
    let connections = std::fs::read_to_string("/proc/net/tcp").unwrap();
    connections.lines().filter(|line| line.contains(&wanted)).count()
}

#[tokio::test]
async fn dial_follows_the_judgement_and_not_the_name() {
    let judged = Server::echo();
    let port = judged.addr.port();
    let trap = Server::echo_at(([127, 0, 0, 2], port).into());
    let (names, clock) = (NameServer::start().await, FixedClock::default());
    let directory = tempfile::tempdir().unwrap();
    let files = SystemFiles {
        resolv_conf: directory.path().join("resolv.conf"),
        hosts: directory.path().join("hosts"),
        port: names.addr.port(),
    };
    std::fs::write(&files.resolv_conf, "nameserver 127.0.0.1\n").unwrap();
    let resolver = DnsResolver::reading(files, Arc::new(clock.clone()));
    let policy = EgressPolicy {
        private: PrivateUpstreams::Allowed,
        allowlist: vec![],
        own_endpoints: vec![OwnEndpoint::Net("127.0.0.2/32".parse().unwrap(), port)],
    };
    let url = Arc::new(UpstreamUrl::parse(&format!("http://api.example:{port}/")).unwrap());
    let judgement = async || judge(&url, &policy, &resolver).await;
    let fixture = Fixture::new(PoolLimits::default());
    let crossing = async |upstream: &JudgedUpstream| {
        let target = Target {
            origin: upstream.url().origin(),
            addresses: upstream.addresses(),
        };
        let _ahead = fixture.client.preconnect(upstream);
        let answer = fixture.client.send_to(&target, get(Full::default()), &()).await;
        answer.unwrap().into_body().collect().await.unwrap();
    };
    names.set("api.example", &["127.0.0.1"], 0);
    let before = judgement().await.unwrap();
    crossing(&before).await;
    // The name is bound anew, alone or beside the good address.
    for addresses in [&["127.0.0.2"][..], &["127.0.0.1", "127.0.0.2"]] {
        names.set("api.example", addresses, 0);
        clock.advance(Duration::from_secs(1));
        assert!(judgement().await.is_err());
        fixture.clock.advance(Duration::from_secs(90));
        crossing(&before).await;
    }
    assert_eq!(fixture.client.stats().dialled, 3);
    assert!(trap.seen().is_none(), "nobody came");
}
