//! A client that speaks HTTP/2.

use bytes::Bytes;
use http::HeaderMap;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
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
pub(crate) struct Http2 {
    sender: SendRequest<Full<Bytes>>,
    base: String,
    _driver: JoinSet<()>,
}

impl Http2 {
    /// Speaks over a stream, to `base` as scheme and authority.
    pub(crate) async fn over(stream: Box<dyn Stream>, base: &str) -> Self {
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
    pub(crate) async fn request(
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
        self.send(request.body(Full::new(Bytes::from(body))).expect("a request"))
            .await
    }

    /// Sends a request and reads the answer.
    pub(crate) async fn send(&mut self, request: hyper::Request<Full<Bytes>>) -> Response {
        let (head, body) = self.open(request).await.into_parts();
        let body = timeout(PATIENCE, body.collect()).await.expect("a body in time");
        let body = body.expect("a whole body");
        Response {
            head: Head {
                line: format!("HTTP/2 {}", head.status),
                status: head.status.as_u16(),
                headers: fields(&head.headers),
            },
            interim: Vec::new(),
            trailers: body.trailers().map(fields).unwrap_or_default(),
            body: body.to_bytes().to_vec(),
            chunks: Vec::new(),
            ending: Ending::Complete,
        }
    }

    /// Sends a request and waits for the head of its answer.
    pub(crate) async fn open(&mut self, request: hyper::Request<Full<Bytes>>) -> hyper::Response<Incoming> {
        let answer = timeout(PATIENCE, self.sender.send_request(request)).await;
        answer.expect("an answer in time").expect("an answer")
    }
}

/// Fields as they came.
pub(crate) fn fields(headers: &HeaderMap) -> Fields {
    let fields = headers.iter().map(|(name, value)| {
        let value = value.to_str().expect("a field in ASCII");
        (name.to_string(), value.to_owned())
    });
    Fields(fields.collect())
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
