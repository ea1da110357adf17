//! One checkpoint, one request.

use std::sync::Arc;
use std::time::Duration;

use admission::ports::{Cause, Clock, Resolver};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use super::{AnchorConfig, AnchorSetupError};
use crate::endpoint::Endpoint;
use crate::http::{Client, ClientConfig, Http2Config, PoolLimits, Target};

/// How much of an answer's body is read, and for how long: only for its server to get rid of it.
const MAX_ANSWER_BYTES: usize = 4096;
const BODY_TIMEOUT: Duration = Duration::from_millis(500);
/// With one request a minute a connection is not worth keeping.
const NO_POOL: PoolLimits = PoolLimits {
    per_origin: 0,
    total: 0,
    idle: Duration::ZERO,
};

/// The way to the anchor.
pub(super) struct Post {
    endpoint: Endpoint,
    /// Path and query.
    target: Uri,
    http: Client<Full<Bytes>>,
    resolver: Arc<dyn Resolver>,
}

impl Post {
    pub(super) fn new(
        config: &AnchorConfig,
        resolver: Arc<dyn Resolver>,
        clock: Arc<dyn Clock>,
        tracker: TaskTracker,
    ) -> Result<Self, AnchorSetupError> {
        let AnchorConfig { url, transport, tls } = config;
        let endpoint = Endpoint::new("AUDIT_ANCHOR_URL", url, *transport);
        let mut target = url.path().to_owned();
        if let Some(query) = url.query() {
            target = target + "?" + query;
        }
        let http = ClientConfig {
            tls: tls.clone(),
            http2: Http2Config::default(),
            limits: NO_POOL,
        };
        Ok(Self {
            endpoint: endpoint.map_err(AnchorSetupError::Url)?,
            target: target
                .parse()
                .map_err(|_| AnchorSetupError::Url("its path cannot be requested"))?,
            http: Client::new(http, clock, tracker),
            resolver,
        })
    }

    /// The host, which alone of the address may be shown.
    pub(super) fn host(&self) -> &str {
        &self.endpoint.origin.host
    }

    /// The host may have moved.
    pub(super) fn forget_addresses(&self) {
        self.resolver.forget(self.host());
    }

    /// Sends a checkpoint, which the anchor has when it answers with a 2xx. Redirections are not followed.
    pub(super) async fn send(&self, data: Bytes) -> Result<(), Cause> {
        let addresses = self.endpoint.addresses(&*self.resolver).await?;
        let mut request = Request::new(Full::new(data));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.target.clone();
        let headers = request.headers_mut();
        headers.insert(header::HOST, self.endpoint.host_header.clone());
        headers.insert(header::USER_AGENT, HeaderValue::from_static("caracal-gateway"));
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let target = Target {
            origin: &self.endpoint.origin,
            addresses: &addresses,
        };
        let sent = self.http.send_to(&target, request, &()).await;
        let response = sent.map_err(|failure| failure.cause().clone())?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES);
        let _unread = timeout(BODY_TIMEOUT, body.collect()).await;
        if status.is_success() {
            return Ok(());
        }
        Err(Cause::new(format!("anchor: status {}", status.as_u16())))
    }
}
