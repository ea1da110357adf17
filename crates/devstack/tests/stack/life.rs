//! Start and stop.

use devstack::{Client, Devstack, Error, Secret, StackConfig};
use http_body_util::BodyExt as _;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::client::{Fixed, MANDATE, proof, send};

#[tokio::test]
async fn after_shutdown_nobody_listens() {
    let fixed = Fixed::start().await;
    let urls = [
        fixed.stack.sts_url().to_owned(),
        fixed.stack.upstream_url().to_owned(),
    ];
    for url in &urls {
        assert!(send(url, "GET", "/health", &[], "").await.is_some());
    }
    fixed.stack.shutdown().await;
    for url in &urls {
        assert!(
            TcpStream::connect(url.strip_prefix("http://").unwrap())
                .await
                .is_err()
        );
    }
}

#[tokio::test]
async fn a_contradictory_configuration_or_a_taken_port_does_not_start() {
    let start = |change: fn(&mut StackConfig)| {
        let mut config = StackConfig::standard().unwrap();
        change(&mut config);
        Devstack::start(proof(), config)
    };
    let secret = || Secret::random().unwrap();
    assert!(matches!(
        start(|c| c.zones.push("zone-dev".into())).await,
        Err(Error::Duplicate(_))
    ));
    assert!(matches!(
        start(|c| c.zones.clear()).await,
        Err(Error::UnknownZone(_))
    ));
    assert!(matches!(
        start(|c| c.clients.clear()).await,
        Err(Error::UnknownClient(_))
    ));
    let twice = |c: &mut StackConfig| c.resources.push(c.resources[0].clone());
    assert!(matches!(start(twice).await, Err(Error::Duplicate(_))));
    let running = Fixed::start().await;
    let mut config = StackConfig::standard().unwrap();
    config.clients.push(Client {
        zone: "zone-dev".into(),
        id: "other".into(),
        secret: secret(),
    });
    config.sts_port = running
        .stack
        .sts_url()
        .rsplit(':')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    assert!(matches!(
        Devstack::start(proof(), config).await,
        Err(Error::Listen { .. })
    ));
}

#[tokio::test]
async fn secrets_differ_from_start_to_start_and_are_not_printed() {
    let (one, two) = (Fixed::start().await, Fixed::start().await);
    let secrets = |fixed: &Fixed| {
        let stack = &fixed.stack;
        [
            stack.gateway_hmac_key(),
            stack.admin_token(),
            &stack.clients()[0].secret,
        ]
        .map(|s| s.expose().to_owned())
    };
    let shown = format!("{:?} {:?}", one.stack, one.stack.clients());
    for (first, second) in secrets(&one).iter().zip(secrets(&two)) {
        assert_eq!(first.len(), 64);
        assert_ne!(*first, second);
        assert!(!shown.contains(first));
    }
    assert_ne!(one.stack.sts().kid("zone-dev"), two.stack.sts().kid("zone-dev"));
}

#[tokio::test]
async fn both_servers_serve_streams_of_ones_own() {
    let fixed = Fixed::start().await;
    let (near, far) = tokio::io::duplex(4096);
    let (upstream_near, upstream_far) = tokio::io::duplex(4096);
    let mut tasks = JoinSet::new();
    tasks.spawn(fixed.stack.sts().clone().serve(far));
    tasks.spawn(fixed.stack.upstream().clone().serve(upstream_far));
    for (stream, target, status) in [(near, "/health", 204), (upstream_near, "/status/299", 299)] {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .unwrap();
        tasks.spawn(async {
            let _ = connection.await;
        });
        let request = http::Request::get(target).body(String::new()).unwrap();
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(response.status(), status);
        response.into_body().collect().await.unwrap();
    }
}

#[tokio::test]
async fn time_comes_from_the_configured_clock() {
    let fixed = Fixed::start().await;
    let token = fixed.mandate(MANDATE);
    fixed.set_time(crate::client::NOW + 900 + 60);
    let exchange = crate::client::Exchange {
        timestamp: Some(crate::client::NOW + 960),
        ..fixed.exchange(&token, MANDATE)
    };
    assert_eq!(exchange.send().await.refusal().2, "invalid subject_token");
}
