//! The STS client over sockets: the contract, faults of the network, plain and TLS.

use std::sync::Arc;
use std::time::Duration;

use admission::ports::{Departure, Sts as _};
use backends::dns::DnsResolver;
use backends::http::PoolLimits;
use backends::sts::{StsClient, StsConfig, StsSetupError, Transport};
use backends::tls::ClientTls;
use devstack::{RawAnswer, Scope};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use testkit::clock::FixedClock;
use testkit::dns::NameServer;
use testkit::proxy::{Fault, FaultProxy};
use testkit::tls::{Ca, TlsFront};
use testkit::wait::PATIENCE;
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use url::Url;

use crate::authority::{Authority, STS_TIMEOUT, dev, send, word};
use crate::contract::sts::sts_contract;
use crate::support::PrivateSystem;

fn certificates(pem: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .unwrap()
}

#[tokio::test]
async fn sts_plain_keeps_the_contract() {
    let authority = Authority::start().await;
    sts_contract(&authority, &authority.client_at(authority.addr()), "").await;
}

#[tokio::test]
async fn sts_below_a_path_keeps_the_contract() {
    let authority = Authority::start().await;
    let url = format!("http://{}/a/b/", authority.addr());
    let client = authority.client(&url, Transport::PlainLoopback);
    assert_eq!(client.prefix(), "/a/b");
    sts_contract(&authority, &client, "/a/b").await;
}

#[tokio::test]
async fn sts_behind_tls_keeps_the_contract() {
    let (authority, ca) = (Authority::start().await, Ca::new());
    // Container tools name hosts with `_`, which neither TLS nor certificates mind (RFC 2181 §11).
    for host in ["sts.example", "my_sts", "a_b.c_d.example"] {
        let server = ca.server(&[host]).server_config(&["http/1.1"]);
        let front = TlsFront::start(authority.addr(), server).await;
        let tls = ClientTls {
            authorities: Some(certificates(ca.pem())),
            identity: None,
        };
        let url = format!("https://{host}:{}", front.addr().port());
        let client = authority.client_with(&url, Transport::Https, tls, &["127.0.0.1"]);
        sts_contract(&authority, &client, "").await;
    }
}

#[tokio::test]
async fn sts_that_wants_a_client_certificate_gets_it() {
    let (authority, ca) = (Authority::start().await, Ca::new());
    let server = ca.server(&["sts.example"]).demanding_config(&ca, &[]);
    let front = TlsFront::start(authority.addr(), server).await;
    let url = format!("https://sts.example:{}", front.addr().port());
    let shown = |identity| ClientTls {
        authorities: Some(certificates(ca.pem())),
        identity,
    };
    let pair = ca.client("gateway");
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
    let certified = CertifiedKey::new(certificates(&pair.certificate), any_supported_type(&key).unwrap());
    let with_certificate = shown(Some(Arc::new(certified)));
    let client = authority.client_with(&url, Transport::Https, shown(None), &["127.0.0.1"]);
    // With TLS 1.3 a client learns only with the answer that its certificate was missed.
    for (renewed, expect) in [(None, "transport"), (Some(&with_certificate), "200")] {
        if let Some(tls) = renewed {
            client.renew_tls(tls).unwrap();
        }
        assert_eq!(word(&send(&client, &authority.exchange("")).await.0), expect);
    }
}

#[tokio::test]
async fn sts_with_a_foreign_certificate_is_a_connect_failure() {
    let (authority, ca) = (Authority::start().await, Ca::new());
    for identity in [
        Ca::new().server(&["sts.example"]),
        ca.server(&["other.example"]),
        ca.expired_server(&["sts.example"]),
    ] {
        let front = TlsFront::start(authority.addr(), identity.server_config(&[])).await;
        let tls = ClientTls {
            authorities: Some(certificates(ca.pem())),
            identity: None,
        };
        let url = format!("https://sts.example:{}", front.addr().port());
        let client = authority.client_with(&url, Transport::Https, tls, &["127.0.0.1"]);
        let (outcome, left) = send(&client, &authority.exchange("")).await;
        assert_eq!((word(&outcome).as_str(), left), ("connect", false));
    }
}

#[tokio::test]
async fn sts_network_faults_have_their_names() {
    let authority = Authority::start().await;
    let proxy = FaultProxy::start(authority.addr()).await;
    for (fault, expect, may_have_left) in [
        (Fault::Refuse, "connect", false),
        (Fault::Hang, "timeout", true),
        (Fault::BlackHole, "timeout", true),
        (Fault::CutAfter(20), "transport", true),
        (Fault::None, "200", true),
    ] {
        proxy.set(fault).await;
        let client = authority.client_at(proxy.addr());
        let call = authority.exchange("");
        let sent = timeout(PATIENCE, send(&client, &call)).await;
        let (outcome, left) = sent.expect("an end, whatever the network does");
        assert_eq!(
            (word(&outcome).as_str(), left),
            (expect, may_have_left),
            "{fault:?}"
        );
    }
}

#[tokio::test]
async fn sts_dead_pooled_connection_is_replaced_and_the_mandate_is_not_spent_by_it() {
    let authority = Authority::start().await;
    let proxy = FaultProxy::start(authority.addr()).await;
    let client = authority.client_at(proxy.addr());
    assert_eq!(word(&send(&client, &authority.exchange("")).await.0), "200");
    // Cuts the pooled connection, and nothing listens: the fresh one cannot be made either.
    proxy.set(Fault::Refuse).await;
    let (outcome, left) = send(&client, &authority.exchange("")).await;
    assert_eq!((word(&outcome).as_str(), left), ("connect", false));
    proxy.set(Fault::None).await;
    assert_eq!(word(&send(&client, &authority.exchange("")).await.0), "200");
    // Cut, and there again: one exchange, one request, on a new connection.
    proxy.set(Fault::Refuse).await;
    proxy.set(Fault::None).await;
    let (before, dialled) = (authority.stack.sts().counts(), client.stats().dialled);
    assert_eq!(word(&send(&client, &authority.exchange("")).await.0), "200");
    assert_eq!(authority.stack.sts().counts().exchanges, before.exchanges + 1);
    assert_eq!(client.stats().dialled, dialled + 1);
}

#[tokio::test]
async fn sts_that_moved_is_found_a_second_after_it_could_not_be_reached() {
    let (authority, server) = (Authority::start().await, NameServer::start().await);
    let resolver = PrivateSystem::new(Some(server.addr)).resolver(&authority.clock);
    let config = StsConfig {
        url: Url::parse(&format!("http://my_sts:{}", authority.addr().port())).unwrap(),
        transport: Transport::PlainLoopback,
        timeout: STS_TIMEOUT,
        tls: ClientTls::default(),
        pool: PoolLimits::default(),
    };
    let clock = Arc::new(authority.clock.clone());
    let client = StsClient::new(config, Arc::new(resolver), clock, TaskTracker::new()).unwrap();
    // Nobody listens there, and the answer would hold for a minute.
    server.set("my_sts", &["127.0.0.9"], 60);
    assert_eq!(word(&send(&client, &authority.exchange("")).await.0), "connect");
    server.set("my_sts", &["127.0.0.1"], 60);
    authority.clock.advance(Duration::from_secs(1));
    assert_eq!(word(&send(&client, &authority.exchange("")).await.0), "200");
}

#[tokio::test]
async fn sts_over_plain_http_is_dialled_only_while_its_addresses_permit_it() {
    let authority = Authority::start().await;
    let port = authority.addr().port();
    let anywhere = Transport::PlainAnywhere(dev());
    for (transport, addresses, dialled) in [
        (Transport::PlainLoopback, &["127.0.0.1"][..], true),
        (Transport::PlainLoopback, &["127.0.0.1", "10.0.0.1"], false),
        (Transport::PlainPrivate, &["127.0.0.1"], true),
        (Transport::PlainPrivate, &["127.0.0.1", "8.8.8.8"], false),
        (Transport::PlainPrivate, &["127.0.0.1", "169.254.169.254"], false),
        (Transport::PlainPrivate, &["127.0.0.1", "::ffff:8.8.8.8"], false),
        (
            Transport::PlainPrivate,
            &["::1", "127.0.0.1", "fd00::1", "::ffff:10.0.0.1"],
            true,
        ),
        (anywhere, &["127.0.0.1", "::ffff:127.0.0.1"], true),
    ] {
        let url = format!("http://sts:{port}");
        let client = authority.client_with(&url, transport, ClientTls::default(), addresses);
        let (outcome, left) = send(&client, &authority.exchange("")).await;
        let expect = if dialled { "200" } else { "connect" };
        assert_eq!(
            (word(&outcome).as_str(), left),
            (expect, dialled),
            "{addresses:?}"
        );
    }
}

#[tokio::test]
async fn sts_address_that_does_not_fit_its_protection_is_refused_at_start() {
    for (url, transport) in [
        ("http://127.0.0.1", Transport::Https),
        ("https://sts.example", Transport::PlainPrivate),
        ("ftp://sts.example", Transport::Https),
        ("https://user:secret@sts.example", Transport::Https),
    ] {
        let config = StsConfig {
            url: Url::parse(url).unwrap(),
            transport,
            timeout: STS_TIMEOUT,
            tls: ClientTls::default(),
            pool: PoolLimits::default(),
        };
        let clock = Arc::new(FixedClock::default());
        let resolver = Arc::new(DnsResolver::system(clock.clone()));
        let made = StsClient::new(config, resolver, clock, TaskTracker::new());
        let Err(StsSetupError::Url(why)) = made else {
            panic!("{url} was accepted")
        };
        assert!(!why.contains("secret"));
    }
}

#[tokio::test]
async fn sts_exchange_carries_exactly_its_headers() {
    let authority = Authority::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let client = authority.client_at(addr);
    let call = authority.exchange("");
    let departure = Departure::default();
    let (outcome, head) = tokio::join!(client.exchange(&call, &departure), async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut text = String::new();
        while !text.ends_with(&call.body) {
            text.push(char::from(testkit::http::read_exactly(&mut stream, 1).await[0]));
        }
        testkit::http::write_all(&mut stream, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
        text
    });
    assert_eq!(outcome.unwrap().status, 200);
    let (head, body) = head.split_once("\r\n\r\n").unwrap();
    assert_eq!(body, call.body);
    let mut lines: Vec<_> = head.lines().map(str::to_owned).collect();
    assert_eq!(lines.remove(0), "POST /oauth/2/token HTTP/1.1");
    lines.sort_unstable();
    let id = &call.exchange_id;
    let expect = [
        "accept: application/json".to_owned(),
        format!("content-length: {}", call.body.len()),
        "content-type: application/x-www-form-urlencoded".to_owned(),
        format!("host: {addr}"),
        "user-agent: caracal-gateway".to_owned(),
        format!("x-caracal-gateway-request: {id}"),
        format!("x-caracal-gateway-signature: {}", call.signature),
        format!("x-caracal-gateway-timestamp: {}", call.timestamp),
        format!("x-request-id: {id}"),
    ];
    assert_eq!(lines, expect);
}

#[tokio::test]
async fn sts_health_is_asked_once_a_second_by_however_many() {
    let authority = Authority::start().await;
    let client = authority.client_at(authority.addr());
    let all = futures_util::future::join_all((0..20).map(|_| client.health())).await;
    assert!(all.iter().all(Result::is_ok));
    let requests = || client.stats().dialled + client.stats().reused;
    assert_eq!(requests(), 1);
    authority
        .stack
        .script()
        .set(Scope::Health, RawAnswer::new(503, "text/plain", ""));
    authority.clock.advance(Duration::from_millis(999));
    assert!(client.health().await.is_ok(), "as known");
    authority.clock.advance(Duration::from_millis(1));
    assert!(client.health().await.is_err());
    assert!(client.health().await.is_err());
    assert_eq!(requests(), 2);
    authority.stack.script().clear(&Scope::Health);
    authority.clock.advance(Duration::from_secs(1));
    assert!(client.health().await.is_ok());
}
