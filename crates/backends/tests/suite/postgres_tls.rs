//! `sslmode`, over real handshakes.

use admission::ports::Cause;
use backends::bindings::{BindingsConfig, PostgresBindings};
use backends::pem::PemTls;
use backends::postgres::{PostgresConfig, PostgresConnector, SslMode};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use testkit::clock::FixedClock;
use testkit::postgres::{Database, Layout, through};
use testkit::tls::{Ca, TlsFront};
use testkit::wait::{PATIENCE, until};
use tokio_util::sync::CancellationToken;

use crate::support::Background;

fn pem(ca: &Ca) -> PemTls {
    PemTls {
        authorities: Some(ca.pem().as_bytes().to_vec()),
        identity: None,
    }
}

/// Whether bindings can be loaded over this connection.
async fn loads(url: &str, ssl_mode: SslMode, authorities: Option<&Ca>) -> Result<(), String> {
    let tls = authorities.map(pem).unwrap_or_default();
    let connector = connector(url, ssl_mode, tls).map_err(|cause| cause.to_string())?;
    loads_over(connector).await
}

fn connector(url: &str, ssl_mode: SslMode, tls: PemTls) -> Result<PostgresConnector, Cause> {
    PostgresConnector::new(&PostgresConfig {
        client: url.parse().unwrap(),
        ssl_mode,
        tls,
        connect_timeout: PATIENCE,
        read_timeout: PATIENCE,
        max_lifetime: Duration::from_secs(60),
    })
}

async fn loads_over(connector: PostgresConnector) -> Result<(), String> {
    let clock = Arc::new(FixedClock::default());
    let (bindings, reader) = PostgresBindings::new(BindingsConfig::default(), connector, clock);
    let mut background = Background::default();
    background.run(reader.run(CancellationToken::new()));
    until("the first load to end", async || {
        let status = bindings.status();
        match (status.age, status.error) {
            (Some(_), _) => Some(Ok(())),
            (None, Some(cause)) => Some(Err(cause.to_string())),
            (None, None) => None,
        }
    })
    .await
}

#[tokio::test]
async fn certificate_is_judged_as_sslmode_says() {
    let database = Database::create(Layout::August).await;
    let url = database.gateway_url();
    let (_, address) = url.rsplit_once('@').unwrap();
    let target: SocketAddr = address.split_once('/').unwrap().0.parse().unwrap();
    let ca = Ca::new();
    let foreign = Ca::new();
    for (names, authority, mode, trusted) in [
        (["127.0.0.1"], &ca, SslMode::VerifyFull, true),
        (["127.0.0.1"], &ca, SslMode::VerifyCa, true),
        (["127.0.0.1"], &ca, SslMode::Require, true),
        (["db.example"], &ca, SslMode::VerifyFull, false),
        (["db.example"], &ca, SslMode::VerifyCa, true),
        (["127.0.0.1"], &foreign, SslMode::VerifyFull, false),
        (["127.0.0.1"], &foreign, SslMode::VerifyCa, false),
        (["127.0.0.1"], &foreign, SslMode::Require, false),
    ] {
        let identity = authority.server(&names);
        let front = TlsFront::start(target, identity.server_config(&["postgresql"])).await;
        // The front speaks TLS from the first byte, which PostgreSQL calls direct negotiation.
        let through = through(&url, front.addr().port());
        let url = format!("{through}?sslnegotiation=direct");
        let outcome = loads(&url, mode, Some(&ca)).await;
        assert_eq!(outcome.is_ok(), trusted, "{names:?} {mode:?}: {outcome:?}");
    }
    let identity = foreign.server(&["db.example"]);
    let front = TlsFront::start(target, identity.server_config(&["postgresql"])).await;
    let through = through(&url, front.addr().port());
    let url = format!("{through}?sslnegotiation=direct");
    loads(&url, SslMode::Require, None)
        .await
        .expect("without authorities `require` only encrypts");

    // What is renewed holds for the next connection, and what cannot be used changes nothing.
    let connector = connector(&url, SslMode::VerifyCa, pem(&ca)).unwrap();
    loads_over(connector.clone())
        .await
        .expect_err("a foreign authority");
    connector.renew_tls(&pem(&foreign)).unwrap();
    let broken = PemTls {
        authorities: Some(b"no certificate".to_vec()),
        identity: None,
    };
    assert!(connector.renew_tls(&broken).is_err());
    loads_over(connector).await.expect("the renewed authority");
}

#[tokio::test]
async fn server_without_tls_is_refused_unless_sslmode_allows_it() {
    let database = Database::create(Layout::August).await;
    let url = database.gateway_url();
    for (mode, accepted) in [
        (SslMode::Disable, true),
        (SslMode::Prefer, true),
        (SslMode::Require, false),
        (SslMode::VerifyFull, false),
    ] {
        let outcome = loads(&url, mode, Some(&Ca::new())).await;
        assert_eq!(outcome.is_ok(), accepted, "{mode:?}: {outcome:?}");
    }
}
