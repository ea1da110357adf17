//! The security token service over HTTP: exchanges, key sets, health.

mod call;
mod component;
mod health;
mod recovery;

use std::sync::Arc;
use std::time::Duration;

use admission::exchange::SignedExchange;
use admission::exchange::sign::TOKEN_PATH;
use admission::ports::{BoxFuture, Cause, Clock, Departure, ExchangeFailure, Resolver, Sts, StsAnswer};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Uri, header};
use http_body_util::Full;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;

use crate::endpoint::Endpoint;
use crate::http::{Client, ClientConfig, Http2Config, PoolLimits, Stats};
use crate::tls::{ClientTls, TlsClient, TlsError, http_client_config};
use call::Phase;
use health::Health;

pub use crate::endpoint::Transport;
pub use component::samples;

/// Largest answer in bytes.
pub const MAX_ANSWER_BYTES: usize = 256 * 1024;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const FORM: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");
const GATEWAY: HeaderValue = HeaderValue::from_static("caracal-gateway");

/// Where the STS is and how it is spoken to.
#[derive(Clone, Debug)]
pub struct StsConfig {
    /// The base address (`STS_URL`), without user info, query or fragment.
    pub url: Url,
    /// How the connection must be protected.
    pub transport: Transport,
    /// How long one call may take, from name resolution to the last byte (`STS_TIMEOUT`).
    pub timeout: Duration,
    /// Authorities and client certificate.
    pub tls: ClientTls,
    /// Bounds of the idle connections.
    pub pool: PoolLimits,
}

/// Why there can be no client of the STS.
#[derive(Debug, thiserror::Error)]
pub enum StsSetupError {
    /// The address is none that can be called.
    #[error("STS_URL: {0}")]
    Url(&'static str),
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// The client of the STS. Clones share connections.
///
/// Answers are never cached, requests never retried or redirected (the one exception is
/// [`Client`]'s: a pooled connection that was dead before a byte was written).
#[derive(Clone)]
pub struct StsClient(Arc<Inner>);

struct Inner {
    endpoint: Endpoint,
    /// The path of the base address without its last slash.
    prefix: String,
    token_target: Uri,
    timeout: Duration,
    http: Client<Full<Bytes>>,
    tls: TlsClient,
    resolver: Arc<dyn Resolver>,
    clock: Arc<dyn Clock>,
    health: Health,
}

impl StsClient {
    /// A client without connections; the tracker owns those that it makes.
    ///
    /// # Errors
    /// [`StsSetupError`].
    pub fn new(
        config: StsConfig,
        resolver: Arc<dyn Resolver>,
        clock: Arc<dyn Clock>,
        tracker: TaskTracker,
    ) -> Result<Self, StsSetupError> {
        let endpoint = Endpoint::new("STS_URL", &config.url, config.transport);
        let prefix = config.url.path().trim_end_matches('/').to_owned();
        let token_target = format!("{prefix}{TOKEN_PATH}").parse();
        let tls = TlsClient::new(http_client_config(&config.tls)?);
        let http = ClientConfig {
            tls: tls.clone(),
            http2: Http2Config::default(),
            limits: config.pool,
        };
        Ok(Self(Arc::new(Inner {
            endpoint: endpoint.map_err(StsSetupError::Url)?,
            prefix,
            token_target: token_target.map_err(|_| StsSetupError::Url("its path cannot be requested"))?,
            timeout: config.timeout,
            http: Client::new(http, Arc::clone(&clock), tracker),
            tls,
            resolver,
            clock,
            health: Health::new(),
        })))
    }

    /// From now on new connections trust these authorities and show this certificate.
    ///
    /// # Errors
    /// [`TlsError`]; then they stay as they were.
    pub fn renew_tls(&self, tls: &ClientTls) -> Result<(), TlsError> {
        self.0.tls.renew(http_client_config(tls)?);
        Ok(())
    }

    /// The path of `STS_URL` without its last slash: what
    /// [`ExchangeSigner::new`](admission::exchange::ExchangeSigner::new) wants.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.0.prefix
    }

    /// How long one call may take.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.0.timeout
    }

    /// Whether the STS answers `GET /health` with any 2xx, as known within the last second:
    /// however often it is called, the STS is asked once in that time.
    ///
    /// # Errors
    /// The cause.
    pub async fn health(&self) -> Result<(), Cause> {
        self.0.health.check(self).await.0
    }

    /// Closes connections that are idle for too long, until shutdown.
    pub async fn run(self, shutdown: CancellationToken) {
        self.0.http.clone().run(shutdown).await;
    }

    /// What its connections did so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.0.http.stats()
    }

    /// Gets a document below the base address; `what` names it in causes.
    pub(crate) async fn get(&self, what: &str, path_and_query: &str) -> Result<StsAnswer, Cause> {
        let target = format!("{}{path_and_query}", self.prefix());
        let target = target
            .parse()
            .map_err(|_| Cause::new(format!("{what}: malformed request target")))?;
        let mut request = self.0.request(Method::GET, target, Bytes::new());
        request.headers_mut().insert(header::ACCEPT, JSON);
        let answer = self.0.call(request, &Phase::default()).await;
        answer.map_err(|failure| match failure {
            ExchangeFailure::Oversized => Cause::new(format!("{what}: answer larger than 256 KiB")),
            ExchangeFailure::Local(cause)
            | ExchangeFailure::Connect(cause)
            | ExchangeFailure::Timeout(cause)
            | ExchangeFailure::Transport(cause) => cause,
        })
    }
}

impl Sts for StsClient {
    fn exchange<'a>(
        &'a self,
        call: &'a SignedExchange,
        departure: &'a Departure,
    ) -> BoxFuture<'a, Result<StsAnswer, ExchangeFailure>> {
        Box::pin(async move {
            let request = self.0.exchange_request(call)?;
            self.0.call(request, &Phase::of(departure)).await
        })
    }
}

impl Inner {
    fn request(&self, method: Method, target: Uri, body: Bytes) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = target;
        let headers = request.headers_mut();
        *headers = HeaderMap::with_capacity(12);
        headers.insert(header::HOST, self.endpoint.host_header.clone());
        headers.insert(header::USER_AGENT, GATEWAY);
        request
    }

    fn exchange_request(&self, call: &SignedExchange) -> Result<Request<Full<Bytes>>, ExchangeFailure> {
        let value = |text: &str| {
            HeaderValue::from_str(text)
                .map_err(|_| ExchangeFailure::Transport(Cause::new("sts: an id that is no header value")))
        };
        let body = Bytes::copy_from_slice(call.body.as_bytes());
        let mut request = self.request(Method::POST, self.token_target.clone(), body);
        let id = value(&call.exchange_id)?;
        let headers = request.headers_mut();
        headers.insert(header::ACCEPT, JSON);
        headers.insert(header::CONTENT_TYPE, FORM);
        headers.insert("x-request-id", id.clone());
        headers.insert("x-caracal-gateway-request", id);
        headers.insert("x-caracal-gateway-timestamp", call.timestamp.into());
        headers.insert("x-caracal-gateway-signature", value(&call.signature)?);
        Ok(request)
    }
}
