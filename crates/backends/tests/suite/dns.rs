//! The resolver against a name server whose every answer the test decides.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use admission::ports::Resolver as _;
use backends::dns::DnsResolver;
use futures_util::future::join_all;
use testkit::clock::FixedClock;
use testkit::dns::NameServer;
use testkit::wait::PATIENCE;
use tokio::time::timeout;

use crate::contract::resolver::resolver_contract;
use crate::support::PrivateSystem;

pub(crate) struct Fixture {
    pub(crate) server: NameServer,
    system: PrivateSystem,
    pub(crate) clock: FixedClock,
    pub(crate) resolver: DnsResolver,
}

impl Fixture {
    pub(crate) async fn start() -> Self {
        let (server, clock) = (NameServer::start().await, FixedClock::default());
        let system = PrivateSystem::new(Some(server.addr));
        let resolver = system.resolver(&clock);
        Self {
            server,
            system,
            clock,
            resolver,
        }
    }

    /// The addresses of a name in order, or nothing.
    async fn resolve(&self, name: &str) -> Vec<String> {
        let answer = timeout(PATIENCE, self.resolver.resolve(name)).await;
        let answer = answer.expect("an answer within the deadline");
        let addresses = answer.map(|found| found.iter().map(IpAddr::to_string).collect());
        let mut addresses: Vec<_> = addresses.unwrap_or_default();
        addresses.sort_unstable();
        addresses
    }
}

#[tokio::test]
async fn resolver_keeps_the_contract_with_and_without_name_servers() {
    resolver_contract(&Fixture::start().await.resolver).await;
    let clock = FixedClock::default();
    resolver_contract(&PrivateSystem::new(None).resolver(&clock)).await;
    let localhost = DnsResolver::system(Arc::new(clock))
        .resolve("localhost")
        .await
        .unwrap();
    assert!(localhost.iter().all(IpAddr::is_loopback));
}

#[tokio::test]
async fn resolver_answers_with_both_families() {
    let fixture = Fixture::start().await;
    fixture
        .server
        .set("both.example", &["192.0.2.1", "192.0.2.2", "2001:db8::1"], 30);
    fixture.server.set("six.example", &["2001:db8::2"], 30);
    assert_eq!(
        fixture.resolve("both.example").await,
        ["192.0.2.1", "192.0.2.2", "2001:db8::1"]
    );
    assert_eq!(fixture.resolve("six.example").await, ["2001:db8::2"]);
}

#[tokio::test]
async fn resolver_remembers_an_answer_for_its_ttl_within_bounds() {
    let fixture = Fixture::start().await;
    for (name, ttl, held) in [
        ("zero.example", 0, 1),
        ("ten.example", 10, 10),
        ("day.example", 86_400, 60),
        ("ever.example", i32::MAX.unsigned_abs(), 60),
    ] {
        fixture.server.set(name, &["192.0.2.1"], ttl);
        assert_eq!(fixture.resolve(name).await, ["192.0.2.1"]);
        let asked = fixture.server.asked();
        // A name that is bound anew, as in DNS rebinding, is bound anew for the guard, too.
        fixture.server.set(name, &["127.0.0.1"], ttl);
        fixture.clock.advance(Duration::from_millis(held * 1000 - 1));
        assert_eq!(fixture.resolve(name).await, ["192.0.2.1"], "{name}");
        assert_eq!(fixture.server.asked(), asked);
        fixture.clock.advance(Duration::from_millis(1));
        assert_eq!(fixture.resolve(name).await, ["127.0.0.1"], "{name}");
    }
}

#[tokio::test]
async fn resolver_asks_once_for_many_and_goes_on_when_the_first_hangs_up() {
    let fixture = Fixture::start().await;
    fixture.server.set("many.example", &["192.0.2.1"], 30);
    let mut first = Box::pin(fixture.resolve("many.example"));
    assert!(futures_util::poll!(&mut first).is_pending());
    let rest = join_all((0..100).map(|_| fixture.resolve("many.example")));
    let (all, ()) = tokio::join!(rest, async {
        tokio::task::yield_now().await;
        drop(first);
    });
    assert!(all.iter().all(|found| found == &["192.0.2.1"]));
    // One query for each family; a busy machine may send each a second time.
    assert!(
        matches!(fixture.server.asked(), 2..=4),
        "{}",
        fixture.server.asked()
    );
}

#[tokio::test]
async fn resolver_remembers_a_failure_for_a_second() {
    let fixture = Fixture::start().await;
    assert_eq!(fixture.resolve("new.example").await, [""; 0]);
    let asked = fixture.server.asked();
    fixture.server.set("new.example", &["192.0.2.1"], 30);
    assert_eq!(fixture.resolve("new.example").await, [""; 0]);
    assert_eq!(fixture.server.asked(), asked);
    fixture.clock.advance(Duration::from_secs(1));
    assert_eq!(fixture.resolve("new.example").await, ["192.0.2.1"]);
}

#[tokio::test]
async fn resolver_gives_up_on_a_silent_server_and_finds_the_name_a_second_after_it_speaks() {
    let fixture = Fixture::start().await;
    fixture.server.set("silent.example", &[], 0);
    let answer = timeout(PATIENCE, fixture.resolver.resolve("silent.example"));
    assert!(answer.await.expect("an end").is_err());
    fixture.server.set("silent.example", &["192.0.2.1"], 30);
    fixture.clock.advance(Duration::from_secs(1));
    assert_eq!(fixture.resolve("silent.example").await, ["192.0.2.1"]);
}

#[tokio::test]
async fn resolver_asks_for_names_with_underscores_and_finds_them_in_the_hosts_file() {
    let fixture = Fixture::start().await;
    fixture.system.hosts("192.0.2.9 my_redis _redis.my_net\n");
    fixture.clock.advance(Duration::from_secs(1));
    fixture.server.set("my_sts", &["192.0.2.1"], 30);
    fixture
        .server
        .set("a_b.c__d.example", &["192.0.2.2", "2001:db8::2"], 30);
    for (name, expect) in [
        ("my_sts", &["192.0.2.1"][..]),
        ("a_b.c__d.example", &["192.0.2.2", "2001:db8::2"]),
        ("my_redis", &["192.0.2.9"]),
        ("MY_REDIS", &["192.0.2.9"]),
        ("_redis.my_net", &["192.0.2.9"]),
        ("no_such_name", &[]),
    ] {
        assert_eq!(fixture.resolve(name).await, expect, "{name}");
    }
}

#[tokio::test]
async fn resolver_reads_the_hosts_file_again_when_it_changes() {
    let fixture = Fixture::start().await;
    assert_eq!(fixture.resolve("redis").await, [""; 0]);
    for addresses in [&["192.0.2.1"][..], &["192.0.2.2", "2001:db8::2"]] {
        let lines: String = addresses
            .iter()
            .map(|address| format!("{address} redis\n"))
            .collect();
        fixture.system.hosts(&lines);
        fixture.clock.advance(Duration::from_secs(1));
        assert_eq!(fixture.resolve("redis").await, addresses);
    }
    // As configuration managers replace it.
    let new = fixture.system.files.hosts.with_extension("new");
    std::fs::write(&new, "192.0.2.3 redis\n").unwrap();
    std::fs::rename(&new, &fixture.system.files.hosts).unwrap();
    fixture.clock.advance(Duration::from_secs(1));
    assert_eq!(fixture.resolve("redis").await, ["192.0.2.3"]);
    // Neither an unreadable file nor none keeps other names from being found.
    fixture.server.set("sts.example", &["192.0.2.1"], 30);
    std::fs::remove_file(&fixture.system.files.hosts).unwrap();
    std::fs::create_dir(&fixture.system.files.hosts).unwrap();
    fixture.clock.advance(Duration::from_secs(1));
    assert_eq!(fixture.resolve("sts.example").await, ["192.0.2.1"]);
}

#[tokio::test]
async fn resolver_takes_a_name_from_the_hosts_file_alone_where_it_is_there() {
    let fixture = Fixture::start().await;
    let lines = format!("nameserver {}\nsearch corp.example\n", fixture.server.addr.ip());
    std::fs::write(&fixture.system.files.resolv_conf, lines).unwrap();
    fixture
        .system
        .hosts("192.0.2.9 redis\n2001:db8::9 sts\n127.0.0.1 localhost\n");
    fixture.clock.advance(Duration::from_secs(1));
    for name in [
        "redis",
        "redis.corp.example",
        "sts",
        "sts.corp.example",
        "both",
        "both.corp.example",
    ] {
        fixture.server.set(name, &["192.0.2.1", "2001:db8::1"], 60);
    }
    fixture.server.set("localhost.corp.example", &["192.0.2.1"], 60);
    fixture.server.set("both", &["192.0.2.2"], 60);
    fixture.server.set("two.labels", &["192.0.2.3"], 60);
    fixture.server.set("two.labels.corp.example", &["192.0.2.4"], 60);
    fixture.server.set("else.where.corp.example", &["192.0.2.5"], 60);
    for (name, expect) in [
        // The other family is not asked for, nor is the name below the search domain.
        ("redis", &["192.0.2.9"][..]),
        ("sts", &["2001:db8::9"]),
        ("localhost", &["127.0.0.1", "::1"]),
        ("both", &["192.0.2.1", "2001:db8::1"]),
        ("two.labels", &["192.0.2.3"]),
        ("else.where", &["192.0.2.5"]),
        ("nowhere", &[]),
    ] {
        assert_eq!(fixture.resolve(name).await, expect, "{name}");
    }
}

#[tokio::test]
async fn resolver_keeps_the_names_of_a_hosts_file_that_is_being_written() {
    let fixture = Fixture::start().await;
    // What is pinned in the file has another address in the DNS.
    fixture.server.set("redis", &["203.0.113.1"], 60);
    let hosts = &fixture.system.files.hosts;
    let damages: [(&str, &dyn Fn()); 3] = [
        ("empty", &|| std::fs::write(hosts, "\n").unwrap()),
        ("gone", &|| std::fs::remove_file(hosts).unwrap()),
        ("unreadable", &|| {
            std::fs::remove_file(hosts).unwrap();
            std::fs::create_dir(hosts).unwrap();
        }),
    ];
    for (case, damage) in damages {
        for round in ["first", "second"] {
            fixture.system.hosts("192.0.2.9 redis\n");
            fixture.clock.advance(Duration::from_secs(1));
            assert_eq!(fixture.resolve("redis").await, ["192.0.2.9"], "{case}, {round}");
            damage();
            fixture.clock.advance(Duration::from_secs(1));
            assert_eq!(fixture.resolve("redis").await, ["192.0.2.9"], "{case}, {round}");
            if round == "second" {
                fixture.clock.advance(Duration::from_secs(1));
                assert_eq!(fixture.resolve("redis").await, ["203.0.113.1"], "{case}");
            }
            let _file = std::fs::remove_dir(hosts);
        }
    }
}

#[tokio::test]
async fn resolver_asks_other_name_servers_when_the_system_names_others() {
    // At another address and the same port.
    let fixture = Fixture::start().await;
    let other = NameServer::at(SocketAddr::new([127, 0, 0, 2].into(), fixture.server.addr.port())).await;
    fixture.server.set("sts.example", &["192.0.2.1"], 60);
    other.set("sts.example", &["192.0.2.2"], 60);
    assert_eq!(fixture.resolve("sts.example").await, ["192.0.2.1"]);
    fixture.system.name_servers(&[other.addr.ip()]);
    assert_eq!(fixture.resolve("sts.example").await, ["192.0.2.1"], "as known");
    fixture.clock.advance(Duration::from_secs(1));
    assert_eq!(fixture.resolve("sts.example").await, ["192.0.2.2"]);
    // While the file is being written there may be nothing in it.
    fixture.system.name_servers(&[]);
    fixture.clock.advance(Duration::from_secs(1));
    assert_eq!(fixture.resolve("sts.example").await, ["192.0.2.2"]);
    fixture.system.name_servers(&[fixture.server.addr.ip()]);
    fixture.clock.advance(Duration::from_secs(1));
    assert_eq!(fixture.resolve("sts.example").await, ["192.0.2.1"]);
    assert!(fixture.resolver.without_servers().is_none());
}

#[tokio::test]
async fn resolver_gets_its_first_name_server_when_the_system_does() {
    let (server, clock) = (NameServer::start().await, FixedClock::default());
    server.set("sts.example", &["192.0.2.1"], 60);
    let system = PrivateSystem::new(Some(server.addr));
    system.name_servers(&[]);
    let resolver = system.resolver(&clock);
    let cause = resolver.resolve("sts.example").await.unwrap_err().to_string();
    assert!(cause.contains("no name server"), "{cause}");
    system.name_servers(&[server.addr.ip()]);
    clock.advance(Duration::from_secs(1));
    assert!(resolver.resolve("sts.example").await.is_ok());
    assert!(resolver.without_servers().is_none());
}

#[tokio::test]
async fn resolver_asks_again_for_what_it_is_told_to_forget_once_a_second() {
    let fixture = Fixture::start().await;
    fixture.server.set("sts.example", &["192.0.2.1"], 60);
    assert_eq!(fixture.resolve("sts.example").await, ["192.0.2.1"]);
    fixture.server.set("sts.example", &["192.0.2.2"], 60);
    fixture.resolver.forget("sts.example");
    assert_eq!(fixture.resolve("sts.example").await, ["192.0.2.1"], "not yet");
    fixture.clock.advance(Duration::from_secs(1));
    assert_eq!(fixture.resolve("sts.example").await, ["192.0.2.2"]);
}
