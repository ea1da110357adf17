//! One HTTP/1.1 request on a connection of its own, for commands that are clients themselves.

use bytes::{Buf, Bytes};
use http::{HeaderMap, Request, response};
use http_body::Body;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;

/// An answer whose body may still be under way. Dropping it closes the connection.
pub(super) struct Answer {
    pub(super) head: response::Parts,
    body: Incoming,
    _connection: JoinSet<()>,
}

/// What came of a body.
pub(super) struct Ended {
    pub(super) bytes: Vec<u8>,
    pub(super) trailers: Option<HeaderMap>,
    /// Whether the framing says that it is complete.
    pub(super) whole: bool,
}

/// Sends a request over a connected stream and waits for the head of the answer. Deadlines are
/// the caller's.
pub(super) async fn send<S, B>(stream: S, request: Request<B>) -> Result<Answer, hyper::Error>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    B: Body + Send + 'static,
    B::Data: Buf + Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (mut sender, driver) = http1::handshake(TokioIo::new(stream)).await?;
    let mut connection = JoinSet::new();
    // What goes wrong on the connection is told to the request or to its body.
    connection.spawn(async move { driver.await.unwrap_or_default() });
    let (head, body) = sender.send_request(request).await?.into_parts();
    Ok(Answer {
        head,
        body,
        _connection: connection,
    })
}

impl Answer {
    /// The next piece of the body; `None` when there is no other, whatever the reason.
    pub(super) async fn next(&mut self) -> Option<Bytes> {
        self.body.frame().await?.ok()?.into_data().ok()
    }

    /// Reads on until the body ends or `most` bytes have come.
    pub(super) async fn rest(mut self, most: usize) -> Ended {
        let mut ended = Ended {
            bytes: Vec::new(),
            trailers: None,
            whole: false,
        };
        loop {
            match self.body.frame().await {
                None => {
                    ended.whole = true;
                    return ended;
                }
                Some(Err(_)) => return ended,
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => ended.bytes.extend_from_slice(&data),
                    Err(frame) => ended.trailers = frame.into_trailers().ok(),
                },
            }
            if ended.bytes.len() > most {
                return ended;
            }
        }
    }
}
