//! An upstream that speaks HTTP/2 and nothing else.

use bytes::Bytes;
use h2::server::{SendResponse, handshake};
use h2::{Reason, RecvStream};
use http::{HeaderMap, HeaderValue, Request, Response};
use std::future::poll_fn;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use testkit::wait::PATIENCE;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// An upstream on 127.0.0.1. Ends when dropped.
pub(super) struct Http2Upstream {
    pub(super) addr: SocketAddr,
    connections: Arc<AtomicUsize>,
    resets: mpsc::UnboundedReceiver<(String, Reason)>,
    _tasks: JoinSet<()>,
}

impl Http2Upstream {
    /// `/echo…` answers with the request's body and trailers, in the same pieces, as they come; `/hold…` says one thing
    /// and then waits to be reset; `/apart…` says five bytes, as many as it announces, but never that this is all. `x-seen` of an answer is the request's `:scheme`, `:authority` and path.
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a free port");
        let addr = listener.local_addr().expect("the address of a listener");
        let (send, resets) = mpsc::unbounded_channel();
        let (mut tasks, connections) = (JoinSet::new(), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&connections);
        tasks.spawn(async move {
            let mut served = JoinSet::new();
            while let Ok((tcp, _)) = listener.accept().await {
                let send = send.clone();
                let counted = Arc::clone(&counted);
                served.spawn(async move {
                    let Ok(mut library) = handshake(tcp).await else {
                        return;
                    };
                    counted.fetch_add(1, Ordering::Relaxed);
                    let mut streams = JoinSet::new();
                    while let Some(Ok((request, respond))) = library.accept().await {
                        streams.spawn(answer(request, respond, send.clone()));
                    }
                });
            }
        });
        Self {
            addr,
            connections,
            resets,
            _tasks: tasks,
        }
    }

    /// How many connections there were.
    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// The path of the next held stream that is reset, and why.
    pub(super) async fn reset(&mut self) -> (String, Reason) {
        let reset = timeout(PATIENCE, self.resets.recv());
        reset.await.expect("a reset in time").expect("a running upstream")
    }

    /// Whether no further one was reset.
    pub(super) fn is_quiet(&mut self) -> bool {
        self.resets.try_recv().is_err()
    }
}

async fn answer(
    mut request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    resets: mpsc::UnboundedSender<(String, Reason)>,
) {
    let uri = request.uri();
    let path = uri.path_and_query().expect("a path").to_string();
    let scheme = uri.scheme_str().unwrap_or_default();
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let seen = format!("{scheme} {authority} {path}");
    let names: Vec<&str> = request.headers().keys().map(http::HeaderName::as_str).collect();
    let response = Response::builder()
        .header("x-seen", seen)
        .header("x-names", names.join(","))
        .header("content-type", "application/grpc");
    let response = match path.contains("/apart") {
        true => response.header("content-length", "5"),
        false => response,
    };
    let response = response.body(()).expect("an answer");
    let Ok(mut stream) = respond.send_response(response, false) else {
        return;
    };
    if path.contains("/hold") {
        let _ = stream.send_data("first".into(), false);
        if let Ok(reason) = poll_fn(|cx| stream.poll_reset(cx)).await {
            let _ = resets.send((path, reason));
        }
        return;
    }
    if path.contains("/apart") {
        let _ = stream.send_data("whole".into(), false);
        let _ = poll_fn(|cx| stream.poll_reset(cx)).await;
        return;
    }
    let body = request.body_mut();
    while let Some(Ok(piece)) = body.data().await {
        let _ = body.flow_control().release_capacity(piece.len());
        if stream.send_data(piece, false).is_err() {
            return;
        }
    }
    let mut trailers = HeaderMap::new();
    if let Ok(Some(sent)) = body.trailers().await {
        trailers = sent;
    }
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let _ = stream.send_trailers(trailers);
}
