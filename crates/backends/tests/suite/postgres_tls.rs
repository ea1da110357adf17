//! `sslmode`, over real handshakes.

use backends::bindings::{BindingsConfig, PostgresBindings};
use backends::pem::PemTls;
use backends::postgres::{Connector, PostgresConfig};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use testkit::clock::FixedClock;
use testkit::postgres::{Database, Layout, through};
use testkit::tls::{Ca, TlsFront};
use testkit::wait::{PATIENCE, until};
use tokio_util::sync::CancellationToken;

use crate::support::Background;

/// Whether bindings can be loaded over this connection.
async fn loads(url: &str, authorities: Option<&Ca>) -> Result<(), String> {
    let config = PostgresConfig {
        url: url.to_owned(),
        tls: PemTls {
            authorities: authorities.map(|ca| ca.pem().as_bytes().to_vec()),
            identity: None,
        },
        connect_timeout: PATIENCE,
        read_timeout: PATIENCE,
        max_lifetime: Duration::from_secs(60),
    };
    let connector = Connector::new(&config).map_err(|cause| cause.to_string())?;
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
        (["127.0.0.1"], &ca, "verify-full", true),
        (["127.0.0.1"], &ca, "verify-ca", true),
        (["127.0.0.1"], &ca, "require", true),
        (["db.example"], &ca, "verify-full", false),
        (["db.example"], &ca, "verify-ca", true),
        (["127.0.0.1"], &foreign, "verify-full", false),
        (["127.0.0.1"], &foreign, "verify-ca", false),
        (["127.0.0.1"], &foreign, "require", false),
    ] {
        let identity = authority.server(&names);
        let front = TlsFront::start(target, identity.server_config(&["postgresql"])).await;
        // The front speaks TLS from the first byte, which PostgreSQL calls direct negotiation.
        let through = through(&url, front.addr().port());
        let url = format!("{through}?sslmode={mode}&sslnegotiation=direct");
        let outcome = loads(&url, Some(&ca)).await;
        assert_eq!(outcome.is_ok(), trusted, "{names:?} {mode}: {outcome:?}");
    }
    let identity = foreign.server(&["db.example"]);
    let front = TlsFront::start(target, identity.server_config(&["postgresql"])).await;
    let through = through(&url, front.addr().port());
    let url = format!("{through}?sslmode=require&sslnegotiation=direct");
    loads(&url, None)
        .await
        .expect("without authorities `require` only encrypts");
}

#[tokio::test]
async fn server_without_tls_is_refused_unless_sslmode_allows_it() {
    let database = Database::create(Layout::August).await;
    let url = database.gateway_url();
    for (mode, accepted) in [
        ("disable", true),
        ("prefer", true),
        ("require", false),
        ("verify-full", false),
    ] {
        let outcome = loads(&format!("{url}?sslmode={mode}"), Some(&Ca::new())).await;
        assert_eq!(outcome.is_ok(), accepted, "{mode}: {outcome:?}");
    }
}
