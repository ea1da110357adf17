//! The dev stack's STS and clients of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use admission::exchange::sign::ExchangeRequest;
use admission::exchange::{ExchangeSigner, SignedExchange};
use admission::mode::{DevOnly, Mode};
use admission::ports::{BoxFuture, Cause, Clock as _, Departure, ExchangeFailure, Resolver, Sts, StsAnswer};
use backends::http::PoolLimits;
use backends::sts::{StsClient, StsConfig, Transport};
use backends::tls::ClientTls;
use devstack::{Devstack, StackConfig};
use testkit::clock::FixedClock;
use tokio_util::task::TaskTracker;
use url::Url;

/// `STS_TIMEOUT` in these tests: long enough for a busy machine, short enough to be waited for.
pub(crate) const STS_TIMEOUT: Duration = Duration::from_secs(4);
pub(crate) const ZONE: &str = "zone-dev";
pub(crate) const RESOURCE: &str = "resource://mandate";

/// The proof that lax things want.
pub(crate) fn dev() -> DevOnly {
    let Ok(Mode::Dev(proof)) = Mode::parse("dev") else {
        unreachable!("dev is the name of the development mode")
    };
    proof
}

/// An STS whose clock is the test's.
pub(crate) struct Authority {
    pub(crate) stack: Devstack,
    pub(crate) clock: FixedClock,
}

impl Authority {
    pub(crate) async fn start() -> Self {
        let clock = FixedClock::default();
        let for_stack = clock.clone();
        let config = StackConfig {
            clock: Arc::new(move || for_stack.unix_seconds()),
            ..StackConfig::standard().unwrap()
        };
        let stack = Devstack::start(dev(), config).await.unwrap();
        Self { stack, clock }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        let url = self.stack.sts_url();
        url.strip_prefix("http://").unwrap().parse().unwrap()
    }

    /// A client of whatever stands at `addr`, which is the STS or a proxy before it.
    pub(crate) fn client_at(&self, addr: SocketAddr) -> StsClient {
        self.client(&format!("http://{addr}"), Transport::PlainLoopback)
    }

    pub(crate) fn client(&self, url: &str, transport: Transport) -> StsClient {
        self.client_with(url, transport, ClientTls::default(), &["127.0.0.1"])
    }

    /// A client with this TLS set-up, for which every host has these addresses.
    pub(crate) fn client_with(
        &self,
        url: &str,
        transport: Transport,
        tls: ClientTls,
        addresses: &[&str],
    ) -> StsClient {
        let config = StsConfig {
            url: Url::parse(url).unwrap(),
            transport,
            timeout: STS_TIMEOUT,
            tls,
            pool: PoolLimits::default(),
        };
        let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
        let clock = Arc::new(self.clock.clone());
        StsClient::new(config, Arc::new(Fixed(addresses)), clock, TaskTracker::new()).unwrap()
    }

    /// A signed exchange of a fresh mandate, as gate 15 makes it for an STS below `prefix`.
    pub(crate) fn exchange(&self, prefix: &str) -> SignedExchange {
        let minted = self
            .stack
            .mint(&self.stack.request_for(RESOURCE))
            .expect("a mandate");
        let key = self.stack.gateway_hmac_key().expose();
        let key: Vec<u8> = (0..key.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&key[at..at + 2], 16).unwrap())
            .collect();
        ExchangeSigner::new(&key, prefix).sign(
            &ExchangeRequest {
                zone_id: ZONE,
                application_id: "app-dev",
                subject_token: minted.token.expose(),
                resource: RESOURCE,
                request_method: "GET",
                request_path: b"/",
                exchange_id: &minted.jti,
            },
            self.clock.now(),
        )
    }
}

/// Sends an exchange; also whether bytes of it may have left.
pub(crate) async fn send(sts: &dyn Sts, call: &SignedExchange) -> (Result<StsAnswer, ExchangeFailure>, bool) {
    let departure = Departure::default();
    let outcome = sts.exchange(call, &departure).await;
    // The mark is for the gates alone; its debug form tells it, too.
    (outcome, format!("{departure:?}").contains("true"))
}

/// An outcome in a word.
pub(crate) fn word(outcome: &Result<StsAnswer, ExchangeFailure>) -> String {
    match outcome {
        Ok(answer) => answer.status.to_string(),
        Err(ExchangeFailure::Local(_)) => "local".to_owned(),
        Err(ExchangeFailure::Connect(_)) => "connect".to_owned(),
        Err(ExchangeFailure::Timeout(_)) => "timeout".to_owned(),
        Err(ExchangeFailure::Transport(_)) => "transport".to_owned(),
        Err(ExchangeFailure::Oversized) => "oversized".to_owned(),
    }
}

/// A resolver that knows one answer.
struct Fixed(Arc<[std::net::IpAddr]>);

impl Resolver for Fixed {
    fn resolve<'a>(&'a self, _host: &'a str) -> BoxFuture<'a, Result<Arc<[std::net::IpAddr]>, Cause>> {
        Box::pin(std::future::ready(Ok(Arc::clone(&self.0))))
    }
}
