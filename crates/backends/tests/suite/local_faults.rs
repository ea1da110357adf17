//! A process without descriptors blames nobody else. It is a process of its own: its limit is for all of it.

use std::fs::File;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use admission::OwnPlace;
use admission::ports::{KeyRefusal, Resolver as _, SigningKeys as _};
use backends::jwks::KeyStore;
use rustix::process::{Resource, getrlimit};
use testkit::clock::FixedClock;
use testkit::redis::PrivateRedis;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::authority::{Authority, ZONE, send, word};
use crate::contract::replay::{mark, set};
use crate::support::{ON_DEMAND, PrivateSystem, Replay, Revocation};

/// The limit by which the second process knows that it is the one.
const DESCRIPTORS: u64 = 211;

#[tokio::test]
async fn local_want_of_descriptors_is_no_fault_of_sts_name_server_or_redis() {
    if getrlimit(Resource::Nofile).current == Some(DESCRIPTORS) {
        return without_descriptors().await;
    }
    let name = "local_faults::local_want_of_descriptors_is_no_fault_of_sts_name_server_or_redis";
    let limited = format!("ulimit -n {DESCRIPTORS}; exec \"$0\" --exact {name} --nocapture");
    let program = std::env::current_exe().unwrap();
    let output = Command::new("sh").arg("-c").arg(limited).arg(program).output();
    let output = output.unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

async fn without_descriptors() {
    let authority = Authority::start().await;
    let client = authority.client_at(authority.addr());
    let system = PrivateSystem::new(Some("127.0.0.1:9".parse().unwrap()));
    system.hosts("192.0.2.1 my_redis\n");
    let changed = system.files.hosts.with_extension("new");
    std::fs::write(&changed, "192.0.2.2 my_redis\n").unwrap();
    let resolver = system.resolver(&authority.clock);
    let (keys, refresher) = KeyStore::new(client.clone(), Arc::new(authority.clock.clone()));
    let mut tasks = JoinSet::new();
    tasks.spawn(refresher.run(CancellationToken::new()));
    let (kid, own_place) = (authority.stack.sts().kid(ZONE).unwrap(), OwnPlace::default());
    let server = PrivateRedis::start().await;
    let call = authority.exchange("");

    let mut held = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        held.push(file);
    }
    let (outcome, left) = send(&client, &call).await;
    assert_eq!((word(&outcome).as_str(), left), ("local", false));
    let cause = resolver.resolve("sts.example").await.unwrap_err();
    assert!(cause.is_local(), "{cause}");
    let Err(KeyRefusal::Unavailable(cause)) = keys.find(ZONE, &kid, &own_place).await else {
        panic!("there are no keys")
    };
    assert!(cause.is_local(), "{cause}");
    assert_eq!((keys.stats().failed, keys.stats().local_faults), (0, 1));
    // Its files changed, and cannot be read now.
    std::fs::rename(&changed, &system.files.hosts).unwrap();
    authority.clock.advance(Duration::from_secs(1));
    assert!(resolver.resolve("my_redis").await.is_ok(), "as known");
    let replay = Replay::remembering(&server.url(), None, &FixedClock::default());
    assert_eq!(set(replay.port(), &mark("a", "a")).await, "unavailable");
    assert_eq!(replay.marks.stats().errors, 0);
    let revocation = Revocation::start(&server.url(), "postgres://nobody@127.0.0.1:9/none", ON_DEMAND);
    assert!(revocation.state.reload().await.is_err());
    assert_eq!(revocation.state.counters().stream_errors, 0);

    drop(held);
    authority.clock.advance(Duration::from_secs(1));
    let found = resolver.resolve("my_redis").await.unwrap();
    assert_eq!(found[0].to_string(), "192.0.2.2");
    let (outcome, left) = send(&client, &call).await;
    assert_eq!((word(&outcome).as_str(), left), ("200", true));
    assert!(keys.find(ZONE, &kid, &own_place).await.is_ok());
}
