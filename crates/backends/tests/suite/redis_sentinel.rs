//! Sentinel: the primary that it names is followed, at once and for good.

use admission::limits::OwnEndpoint;
use admission::ports::MarkRefusal;
use backends::component::Component;
use backends::redis::{RedisConfig, RedisConnector, RedisServers};
use redis::{ConnectionAddr, RedisConnectionInfo};
use testkit::redis::{PrivateRedis, Sentinels};
use testkit::tls::Ca;
use testkit::wait::until;

use crate::contract::replay::{mark, set};
use crate::support::{Replay, sentinel_config};

fn connector(config: &RedisConfig) -> Component<RedisConnector> {
    RedisConnector::component(config).unwrap()
}

async fn holder(server: &PrivateRedis, jti: &str) -> Option<String> {
    let mut get = redis::cmd("GET");
    get.arg(format!("seen:jti:{jti}"));
    get.query_async(&mut server.connection().await).await.unwrap()
}

/// The ports that the gateway counts as its own.
fn own_ports(redis: &RedisConnector) -> Vec<u16> {
    let endpoints = redis.endpoints().borrow().clone();
    let port = |endpoint: &OwnEndpoint| match endpoint {
        OwnEndpoint::Net(_, port) | OwnEndpoint::Host(_, port) | OwnEndpoint::Name(_, port) => *port,
    };
    endpoints.iter().map(port).collect()
}

fn sorted(mut ports: Vec<u16>) -> Vec<u16> {
    ports.sort_unstable();
    ports
}

/// For some ten seconds after a failover the old primary takes writes that are thrown away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn marks_go_to_the_promoted_server_while_the_old_one_still_takes_them() {
    let group = Sentinels::start(1).await;
    let redis = connector(&sentinel_config(&group));
    let own = redis.port.clone();
    let replay = Replay::at_sentinels(redis);
    assert_eq!(set(replay.port(), &mark("before", "a")).await, "set");
    let old = group.servers[0].port();
    let with = |port: u16| sorted(group.ports().into_iter().chain([port]).collect());
    assert_eq!(
        sorted(own_ports(&own)),
        with(old),
        "sentinels and primary are the gateway's own"
    );

    let promoted = group.fail_over().await;
    let new = group.servers[promoted].port();
    until("the gateway to follow", async || {
        (sorted(own_ports(&own)) == with(new)).then_some(())
    })
    .await;
    let after = replay.next_that_passes("after").await;
    let found = holder(&group.servers[promoted], &after).await;
    assert_eq!(found.as_deref(), Some("a"), "it is where it lasts");
    assert_eq!(replay.present_again(&after).await, "seen", "because of its mark");
    assert_eq!(set(replay.port(), &mark("before", "a")).await, "seen");
}

/// The id of a server's history.
fn history(info: &str) -> Option<&str> {
    info.lines().find_map(|line| line.strip_prefix("master_replid:"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_primary_in_the_middle_of_marks_lets_none_pass_twice_and_is_recovered_from() {
    let mut group = Sentinels::start(1).await;
    let replay = Replay::confirmed(connector(&sentinel_config(&group)), 1, true);
    let mut passed = Vec::new();
    for number in 0..50 {
        let jti = format!("first-{number}");
        if set(replay.port(), &mark(&jti, "a")).await == "set" {
            passed.push(jti);
        }
    }
    assert!(!passed.is_empty());
    group.servers[0].kill().await;
    // One replica must confirm, and the only one is the primary now.
    let promoted = group.promoted(0).await;
    let mut number = 0;
    until("a mark that nobody confirms", async || {
        number += 1;
        let outcome = replay.present_next(&format!("second-{number}")).await;
        assert_ne!(outcome, "set", "{number}");
        (outcome == "unavailable").then_some(())
    })
    .await;
    let before: String = group.servers[promoted].ask(&["INFO", "replication"]).await;
    group.servers[0].restart().await;
    let again = replay.next_that_passes("third").await;
    assert_eq!(
        holder(&group.servers[promoted], &again).await.as_deref(),
        Some("a")
    );
    assert_eq!(replay.present_again(&again).await, "seen", "because of its mark");
    for jti in passed {
        // Those of before the failover are refused whether or not their marks are there, and they are.
        assert_eq!(set(replay.port(), &mark(&jti, "b")).await, "seen", "{jti}");
        let found = holder(&group.servers[promoted], &jti).await;
        let now: String = group.servers[promoted].ask(&["INFO", "replication"]).await;
        // One that was turned round once more since, as on a busy machine, had to copy the other's data.
        if history(&now) == history(&before) {
            assert_eq!(found.as_deref(), Some("a"), "{jti}: {now}");
        }
    }
}

#[tokio::test]
async fn sentinels_and_servers_are_followed_over_tls() {
    let ca = Ca::new();
    let group = Sentinels::start_tls(1, &ca).await;
    let mut config = sentinel_config(&group);
    if let RedisServers::Sentinel { sentinels, .. } = &mut config.servers {
        for sentinel in sentinels {
            let ConnectionAddr::Tcp(host, port) = sentinel.addr().clone() else {
                unreachable!()
            };
            *sentinel = sentinel.clone().set_addr(ConnectionAddr::TcpTls {
                host,
                port,
                insecure: false,
                tls_params: None,
            });
        }
    }
    let foreign = Replay::confirmed(connector(&config), 1, true);
    assert_eq!(set(foreign.port(), &mark("foreign", "a")).await, "unavailable");
    config.tls.authorities = Some(ca.pem().as_bytes().to_vec());
    let redis = connector(&config);
    let own = redis.port.clone();
    let replay = Replay::at_sentinels(redis);
    let outcome = set(replay.port(), &mark("before", "a")).await;
    assert_eq!(outcome, "set", "{:?}", replay.link.status());
    let promoted = group.fail_over().await;
    until("the gateway to follow", async || {
        own_ports(&own)
            .contains(&group.servers[promoted].port())
            .then_some(())
    })
    .await;
    replay.next_that_passes("after").await;
}

#[tokio::test]
async fn old_primary_alone_confirms_nothing_after_a_failover() {
    let mut group = Sentinels::start(1).await;
    let config = RedisConfig {
        servers: RedisServers::Single(Box::new(group.servers[0].url().parse().unwrap())),
        ..sentinel_config(&group)
    };
    let replay = Replay::confirmed(connector(&config), 1, true);
    until("a mark", async || {
        (set(replay.port(), &mark("before", "a")).await != "unavailable").then_some(())
    })
    .await;
    group.fail_over().await;
    // Without them it stays as it is: a primary that takes writes.
    for index in 0..3 {
        group.kill_sentinel(index).await;
    }
    until("a mark that nobody confirms", async || {
        match replay.port().set(&mark("lost", "a")).await {
            Err(MarkRefusal::Unavailable(cause)) => {
                cause.to_string().contains("REPLAY_MIN_REPLICAS").then_some(())
            }
            other => panic!("{other:?}"),
        }
    })
    .await;
    assert_eq!(holder(&group.servers[0], "lost").await.as_deref(), Some("a"));
}

#[tokio::test]
async fn last_named_primary_is_dialled_while_no_sentinel_answers() {
    let mut group = Sentinels::start(1).await;
    let replay = Replay::at_sentinels(connector(&sentinel_config(&group)));
    assert_eq!(set(replay.port(), &mark("before", "a")).await, "set");
    for index in 0..3 {
        group.kill_sentinel(index).await;
    }
    assert_eq!(set(replay.port(), &mark("without", "a")).await, "set");
    group.servers[0].restart().await;
    replay.next_that_passes("restarted").await;
    // A failover that was missed meanwhile is learnt from the first sentinel that is back.
    for index in 0..3 {
        group.restart_sentinel(index).await;
    }
    let promoted = group.fail_over().await;
    let mut number = 0;
    until("marks at the promoted server", async || {
        number += 1;
        let jti = format!("promoted-{number}");
        set(replay.port(), &mark(&jti, "a")).await;
        holder(&group.servers[promoted], &jti).await
    })
    .await;
}

#[tokio::test]
async fn sentinels_that_cannot_be_used_say_why_and_tell_no_secret() {
    let group = Sentinels::start(1).await;
    let good = sentinel_config(&group);
    let RedisServers::Sentinel {
        sentinels,
        service,
        primary,
    } = good.servers.clone()
    else {
        unreachable!()
    };
    let anonymous = |login: RedisConnectionInfo| {
        sentinels
            .iter()
            .map(|sentinel| sentinel.clone().set_redis_settings(login.clone()))
            .collect()
    };
    let login = RedisConnectionInfo::default().set_username("watcher");
    for (name, servers, expect) in [
        (
            "service",
            RedisServers::Sentinel {
                sentinels: sentinels.clone(),
                service: "other".to_owned(),
                primary: primary.clone(),
            },
            "No such master",
        ),
        (
            "password",
            RedisServers::Sentinel {
                sentinels: anonymous(login.set_password("wrong-secret")),
                service: service.clone(),
                primary: primary.clone(),
            },
            "no sentinel names a primary of caracal",
        ),
        (
            "primary's password",
            RedisServers::Sentinel {
                sentinels,
                service,
                primary: primary.set_password("wrong-secret"),
            },
            "redis connect",
        ),
    ] {
        let config = RedisConfig {
            servers,
            ..good.clone()
        };
        let replay = Replay::confirmed(connector(&config), 1, true);
        let cause = until("a cause", async || {
            replay
                .link
                .status()
                .down
                .map(|cause| cause.to_string())
                .filter(|cause| cause.contains(expect))
        })
        .await;
        assert!(
            !cause.contains("wrong-secret") && !cause.contains(good_password(&group)),
            "{name}: {cause}"
        );
        assert_eq!(set(replay.port(), &mark("a", "a")).await, "unavailable", "{name}");
    }
}

fn good_password(group: &Sentinels) -> &str {
    group.login().1
}
