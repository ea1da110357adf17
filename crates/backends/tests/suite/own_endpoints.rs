//! The egress guard over the real resolver: an own endpoint that moves.

use std::sync::Arc;
use std::time::Duration;

use admission::binding::{UpstreamUrl, judge};
use admission::limits::{EgressPolicy, OwnEndpoint, PrivateUpstreams};
use admission::ports::Resolver as _;
use backends::dns::DnsResolver;
use testkit::clock::FixedClock;
use testkit::dns::NameServer;

use crate::support::PrivateSystem;

const OLD: &str = "http://10.0.0.5:6379/";
const NEW: &str = "http://10.0.0.6:6379/";

/// Whether the guard lets an upstream pass beside a Redis with this name.
async fn passes(upstream: &str, resolver: &DnsResolver) -> bool {
    let policy = EgressPolicy {
        private: PrivateUpstreams::Allowed,
        allowlist: vec![],
        own_endpoints: vec![OwnEndpoint::Host("my_redis".to_owned(), 6379)],
    };
    let url = Arc::new(UpstreamUrl::parse(upstream).unwrap());
    judge(&url, &policy, resolver).await.is_ok()
}

#[tokio::test]
async fn own_endpoint_that_moves_in_the_hosts_file_takes_its_refusal_along() {
    let (system, clock) = (PrivateSystem::new(None), FixedClock::default());
    system.hosts("10.0.0.5 my_redis\n");
    let resolver = system.resolver(&clock);
    assert!(!passes(OLD, &resolver).await && passes(NEW, &resolver).await);
    system.hosts("10.0.0.6 my_redis\n");
    clock.advance(Duration::from_secs(1));
    assert!(passes(OLD, &resolver).await && !passes(NEW, &resolver).await);
    assert!(!passes("http://MY_REDIS:6379/", &resolver).await, "by name");
}

#[tokio::test]
async fn own_endpoint_that_moves_in_the_dns_leaves_its_old_address_within_a_second() {
    let (server, clock) = (NameServer::start().await, FixedClock::default());
    server.set("my_redis", &["10.0.0.5"], 60);
    let system = PrivateSystem::new(Some(server.addr));
    let resolver = system.resolver(&clock);
    assert!(!passes(OLD, &resolver).await && passes(NEW, &resolver).await);
    server.set("my_redis", &["10.0.0.6"], 60);
    clock.advance(Duration::from_secs(1));
    assert!(passes(OLD, &resolver).await && !passes(NEW, &resolver).await);
}

#[tokio::test]
async fn own_endpoint_found_in_one_of_two_answers_that_overlap_is_refused() {
    let (server, clock) = (NameServer::start().await, FixedClock::default());
    server.set("my_redis", &["10.0.0.5", "10.0.0.7"], 60);
    let system = PrivateSystem::new(Some(server.addr));
    let resolver = system.resolver(&clock);
    let known = resolver.resolve("my_redis").await;
    assert_eq!(known.map(|known| known.len()).ok(), Some(2));
    server.set("my_redis", &["10.0.0.7", "10.0.0.8"], 60);
    clock.advance(Duration::from_secs(1));
    assert!(!passes(OLD, &resolver).await, "missing from the second answer");
}

#[tokio::test]
async fn own_endpoint_that_does_not_resolve_lets_nothing_pass_at_its_port() {
    let (system, clock) = (PrivateSystem::new(None), FixedClock::default());
    let resolver = system.resolver(&clock);
    assert!(!passes(NEW, &resolver).await);
    assert!(passes("http://10.0.0.6:6380/", &resolver).await);
    system.hosts("10.0.0.5 my_redis\n");
    clock.advance(Duration::from_secs(1));
    assert!(passes(NEW, &resolver).await);
}
