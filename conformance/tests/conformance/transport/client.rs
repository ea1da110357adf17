//! A client that speaks HTTP/2.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::SupportedProtocolVersion;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use std::net::SocketAddr;
use std::sync::Arc;
use testkit::http::{Ending, Fields, Head, Response, Stream};
use testkit::tls::{Ca, connect};
use testkit::wait::PATIENCE;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// One HTTP/2 connection.
pub(super) struct Http2 {
    sender: SendRequest<Full<Bytes>>,
    base: String,
    _driver: JoinSet<()>,
}

impl Http2 {
    /// Speaks over a stream, to `base` as scheme and authority.
    pub(super) async fn over(stream: Box<dyn Stream>, base: &str) -> Self {
        let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .expect("an HTTP/2 connection");
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            // An error here also fails the request that waits for an answer, which tells more.
            let _ = connection.await;
        });
        Self {
            sender,
            base: base.to_owned(),
            _driver: driver,
        }
    }

    /// Sends a request, with a mandate for a resource unless there is none, and reads the answer.
    pub(super) async fn request(
        &mut self,
        method: &str,
        path: &str,
        mandate: Option<(&str, &str)>,
        body: Vec<u8>,
    ) -> Response {
        let mut request = hyper::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base));
        if let Some((token, resource)) = mandate {
            request = request
                .header("authorization", format!("Bearer {token}"))
                .header("x-caracal-resource", resource);
        }
        let request = request.body(Full::new(Bytes::from(body))).expect("a request");
        let exchange = async {
            let (head, body) = self
                .sender
                .send_request(request)
                .await
                .expect("an answer")
                .into_parts();
            let fields = head.headers.iter().map(|(name, value)| {
                (
                    name.to_string(),
                    value.to_str().expect("a header in ASCII").to_owned(),
                )
            });
            Response {
                head: Head {
                    line: format!("HTTP/2 {}", head.status),
                    status: head.status.as_u16(),
                    headers: Fields(fields.collect()),
                },
                interim: Vec::new(),
                body: body.collect().await.expect("a whole body").to_bytes().to_vec(),
                chunks: Vec::new(),
                trailers: Fields::default(),
                ending: Ending::Complete,
            }
        };
        timeout(PATIENCE, exchange).await.expect("an answer in time")
    }
}

/// Whether a server takes this version of TLS.
pub(super) async fn speaks(
    addr: SocketAddr,
    name: &str,
    ca: &Ca,
    version: &'static SupportedProtocolVersion,
) -> bool {
    let mut roots = rustls::RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(ca.pem().as_bytes()).expect("a root");
    roots.add(root).expect("a root");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .expect("a version")
        .with_root_certificates(roots)
        .with_no_client_auth();
    connect(addr, name, config).await.is_ok()
}
