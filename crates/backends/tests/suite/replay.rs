//! Replay marks on Redis: the contract, and what stands in the store.

use std::sync::Arc;

use admission::ports::ReplayMarks;
use backends::pem::{PemIdentity, PemTls};
use backends::redis::{RedisConfig, RedisConnector};
use testkit::clock::FixedClock;
use testkit::redis::PrivateRedis;
use testkit::tls::Ca;
use testkit::wait::until;

use crate::contract::replay::{mark, replay_contract, set};
use crate::support::{Replay, redis_config};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_replay_keeps_the_contract() {
    let server = PrivateRedis::start().await;
    let replicas: Vec<Replay> = (0..3).map(|_| Replay::start(&server.url())).collect();
    let next = std::cell::Cell::new(0);
    replay_contract(|| {
        next.set(next.get() + 1);
        Arc::clone(&replicas[next.get() % replicas.len()].marks) as Arc<dyn ReplayMarks>
    })
    .await;
}

#[tokio::test]
async fn mark_holds_the_exchange_id_for_the_whole_life() {
    let server = PrivateRedis::start().await;
    let replay = Replay::start(&server.url());
    assert_eq!(set(replay.port(), &mark("jti-1", "exchange-1")).await, "set");
    let mut redis = server.connection().await;
    let (holder, life): (String, u64) = redis::pipe()
        .get("seen:jti:jti-1")
        .pttl("seen:jti:jti-1")
        .query_async(&mut redis)
        .await
        .unwrap();
    assert_eq!(holder, "exchange-1");
    assert!((590_000..=600_000).contains(&life), "{life} ms");
}

#[tokio::test]
async fn marks_travel_over_tls_with_a_client_certificate() {
    let ca = Ca::new();
    let server = PrivateRedis::start_tls(&ca, true).await;
    let client = ca.client("gateway");
    let tls = PemTls {
        authorities: Some(ca.pem().as_bytes().to_vec()),
        identity: Some(PemIdentity {
            certificate: client.certificate.into_bytes(),
            key: client.key.into_bytes(),
        }),
    };
    let config = RedisConfig {
        tls,
        ..redis_config(&server.url())
    };
    let resp3 = redis_config(&format!("{}?protocol=resp3", server.url()));
    let resp3 = RedisConfig {
        servers: resp3.servers,
        ..config.clone()
    };
    for (name, config) in [("resp2", &config), ("resp3", &resp3)] {
        let good = Replay::over(RedisConnector::new(config).unwrap(), None, &FixedClock::default());
        assert_eq!(set(good.port(), &mark(name, "a")).await, "set");
    }

    let foreign = RedisConfig {
        tls: PemTls {
            authorities: Some(Ca::new().pem().as_bytes().to_vec()),
            identity: config.tls.identity.clone(),
        },
        ..config.clone()
    };
    let anonymous = RedisConfig {
        tls: PemTls {
            identity: None,
            ..config.tls.clone()
        },
        ..config.clone()
    };
    for (name, other) in [("foreign", foreign), ("anonymous", anonymous)] {
        let connector = RedisConnector::new(&other).unwrap();
        let replay = Replay::over(connector.clone(), None, &FixedClock::default());
        assert_eq!(set(replay.port(), &mark(name, "a")).await, "unavailable");
        // What is renewed holds for the next connection, and what cannot be used changes nothing.
        let mut broken = config.tls.clone();
        broken.authorities = Some(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_vec());
        connector.renew_tls(&config.tls).unwrap();
        assert!(connector.renew_tls(&broken).is_err());
        until("a mark over the renewed certificates", async || {
            (set(replay.port(), &mark(name, "a")).await == "set").then_some(())
        })
        .await;
    }
}
