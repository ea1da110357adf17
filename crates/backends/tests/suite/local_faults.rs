//! A process without descriptors blames nobody else. It is a process of its own: its limit is for all of it.

use std::fs::File;
use std::process::Command;

use admission::ports::Resolver as _;
use rustix::process::{Resource, getrlimit};
use testkit::clock::FixedClock;
use testkit::redis::PrivateRedis;

use crate::authority::{Authority, send, word};
use crate::contract::replay::{mark, set};
use crate::support::{PrivateSystem, Replay};

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
    let resolver = system.resolver(&authority.clock);
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
    let replay = Replay::remembering(&server.url(), None, &FixedClock::default());
    assert_eq!(set(replay.port(), &mark("a", "a")).await, "unavailable");
    assert_eq!(replay.marks.stats().errors, 0);

    drop(held);
    let (outcome, left) = send(&client, &call).await;
    assert_eq!((word(&outcome).as_str(), left), ("200", true));
}
