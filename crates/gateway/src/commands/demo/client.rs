//! The caller of the demo: real requests over real sockets, well formed or not.

use std::convert::Infallible;
use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, HOST};
use http::{HeaderMap, Method, Request};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::commands::request::{self, Answer, Ended};

/// How long any answer may take: far more than any does, on a busy machine too.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest answer that is read, in bytes.
const MAX_ANSWER_BYTES: usize = 256 * 1024;

/// One request.
pub(super) struct Ask {
    pub(super) method: Method,
    pub(super) target: &'static str,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) payload: Payload,
}

/// The body of a request.
pub(super) enum Payload {
    None,
    Text(&'static str),
    /// A length that is declared; the body itself never comes.
    Declared(u64),
}

/// A complete answer.
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) ended: Ended,
}

impl Ask {
    /// `GET` with a mandate for a resource.
    pub(super) fn get(target: &'static str, mandate: &str, resource: &str) -> Self {
        Self::bare(target).bearer(mandate).resource(resource)
    }

    /// `GET` without any header of its own.
    pub(super) fn bare(target: &'static str) -> Self {
        Self {
            method: Method::GET,
            target,
            headers: Vec::new(),
            payload: Payload::None,
        }
    }

    pub(super) fn bearer(self, token: &str) -> Self {
        self.header(AUTHORIZATION.as_str(), format!("Bearer {token}"))
    }

    pub(super) fn resource(self, resource: &str) -> Self {
        self.header("x-caracal-resource", resource)
    }

    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(super) fn method(self, method: Method) -> Self {
        Self { method, ..self }
    }

    pub(super) fn payload(self, payload: Payload) -> Self {
        Self { payload, ..self }
    }
}

/// Asks on a connection of its own: the whole answer, or in words why there is none.
pub(super) async fn ask(gateway: SocketAddr, ask: &Ask) -> Result<Reply, String> {
    let answer = open(gateway, ask).await?;
    let (status, headers) = (answer.head.status.as_u16(), answer.head.headers.clone());
    let ended = timeout(ANSWER_TIMEOUT, answer.rest(MAX_ANSWER_BYTES)).await;
    let ended = ended.map_err(|_| {
        format!(
            "{status}, but no end of the body within {} s",
            ANSWER_TIMEOUT.as_secs()
        )
    })?;
    Ok(Reply {
        status,
        headers,
        ended,
    })
}

/// The answer's head, with its body still under way.
pub(super) async fn open(gateway: SocketAddr, ask: &Ask) -> Result<Answer, String> {
    let sent = async {
        let stream = TcpStream::connect(gateway).await?;
        Ok::<_, Box<dyn Error>>(request::send(stream, request(gateway, ask)?).await?)
    };
    match timeout(ANSWER_TIMEOUT, sent).await {
        Ok(sent) => sent.map_err(|error| error.to_string()),
        Err(_elapsed) => Err(format!("no answer within {} s", ANSWER_TIMEOUT.as_secs())),
    }
}

fn request(gateway: SocketAddr, ask: &Ask) -> Result<Request<UnsyncBoxBody<Bytes, Infallible>>, http::Error> {
    let mut request = Request::builder()
        .method(&ask.method)
        .uri(ask.target)
        .header(HOST, gateway.to_string());
    for (name, value) in &ask.headers {
        request = request.header(*name, value);
    }
    let body = match ask.payload {
        Payload::None => Full::default().boxed_unsync(),
        Payload::Text(text) => Full::from(text).boxed_unsync(),
        Payload::Declared(length) => {
            request = request.header(CONTENT_LENGTH, length);
            StreamBody::new(stream::pending::<Result<Frame<Bytes>, Infallible>>()).boxed_unsync()
        }
    };
    request.body(body)
}
