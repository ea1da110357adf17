//! A caller that holds several streams of one HTTP/2 connection.

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest, handshake};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use std::net::SocketAddr;
use testkit::wait::PATIENCE;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// A connection to the gateway. Ends when dropped.
pub(super) struct Caller {
    sender: SendRequest<Bytes>,
    base: String,
    _driver: JoinSet<()>,
}

/// An exchange under way.
pub(super) struct Exchange {
    answer: ResponseFuture,
    /// What is sent.
    pub(super) upload: SendStream<Bytes>,
}

impl Caller {
    pub(super) async fn open(addr: SocketAddr) -> Self {
        let tcp = TcpStream::connect(addr).await.expect("a gateway that listens");
        let (sender, connection) = handshake(tcp).await.expect("an HTTP/2 connection");
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            // An error here also fails the exchanges, which tells more.
            let _ = connection.await;
        });
        Self {
            sender,
            base: format!("http://{addr}"),
            _driver: driver,
        }
    }

    /// Begins a gRPC-shaped request whose body follows, if there is one.
    pub(super) async fn begin(&self, path: &str, token: &str, resource: &str, has_body: bool) -> Exchange {
        let request = Request::post(format!("{}{path}", self.base))
            .header("authorization", format!("Bearer {token}"))
            .header("x-caracal-resource", resource)
            .header("te", "trailers")
            .header("content-type", "application/grpc")
            .header("cookie", "a=1")
            .header("cookie", "b=2");
        let request = request.body(()).expect("a request");
        let mut sender = self.sender.clone().ready().await.expect("an open connection");
        let (answer, upload) = sender
            .send_request(request, !has_body)
            .expect("an open connection");
        Exchange { answer, upload }
    }
}

impl Exchange {
    /// The head of the answer.
    pub(super) async fn head(self) -> (Response<RecvStream>, SendStream<Bytes>) {
        let answer = timeout(PATIENCE, self.answer).await.expect("an answer in time");
        (answer.expect("an answer"), self.upload)
    }
}

/// The next piece of a body.
pub(super) async fn piece(body: &mut RecvStream) -> Option<Result<Bytes, h2::Error>> {
    let piece = timeout(PATIENCE, body.data()).await.expect("a piece in time");
    if let Some(Ok(piece)) = &piece {
        let _ = body.flow_control().release_capacity(piece.len());
    }
    piece
}

/// The trailers of a body that was read to its end.
pub(super) async fn trailers(body: &mut RecvStream) -> HeaderMap {
    let trailers = timeout(PATIENCE, body.trailers())
        .await
        .expect("trailers in time");
    trailers.expect("a whole answer").expect("trailers")
}
