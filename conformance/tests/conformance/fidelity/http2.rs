//! Both ends of HTTP/2.

use super::Recorder;
use super::case::{Case, Download, Protocol, Upload};
use super::message::{Fields, Framing, Message};
use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use std::future::poll_fn;
use std::net::SocketAddr;
use testkit::wait::PATIENCE;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// A client of one server, over one connection.
pub(super) struct Client {
    sender: SendRequest<Bytes>,
    credentials: Fields,
    _driver: JoinSet<()>,
}

impl Client {
    pub(super) async fn open(addr: SocketAddr, credentials: Fields) -> Self {
        let tcp = TcpStream::connect(addr).await.expect("a server that listens");
        tcp.set_nodelay(true).expect("a socket");
        let (sender, connection) = h2::client::handshake(tcp).await.expect("an HTTP/2 connection");
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            // An error here also fails the exchanges, which tells more.
            let _ = connection.await;
        });
        Self {
            sender,
            credentials,
            _driver: driver,
        }
    }

    /// Sends a request and reads the answer.
    pub(super) async fn exchange(&mut self, case: &Case) -> Result<Message, String> {
        let exchange = timeout(PATIENCE, self.exchanged(case)).await;
        let exchange = exchange.map_err(|_| "nothing in time".to_owned())?;
        exchange.map_err(|error| error.to_string())
    }

    async fn exchanged(&mut self, case: &Case) -> Result<Message, h2::Error> {
        let mut request = Request::builder()
            .method(case.method)
            .uri(format!("http://{}{}", super::HOST, case.target()))
            .body(())
            .expect("a request");
        let fields = [self.credentials.clone(), case.fields(Protocol::Http2)].concat();
        *request.headers_mut() = map(&fields);
        let is_whole = matches!(case.upload, Upload::None | Upload::Empty);
        let mut sender = self.sender.clone().ready().await?;
        let (mut response, mut upload) = sender.send_request(request, is_whole)?;
        if !is_whole {
            let is_open = case.upload == Upload::Early;
            let trailers = case.upload_trailers();
            send(&mut upload, &case.upload_body(), &trailers, is_open).await?;
        }
        let interim = interim(&mut response).await?;
        let (head, mut body) = response.await?.into_parts();
        let mut answer = Message::answer(head.status.as_str().as_bytes(), b"");
        (answer.interim, answer.fields) = (interim, listed(&head.headers));
        receive(&mut body, &mut answer).await?;
        if case.upload == Upload::Early {
            upload.send_reset(h2::Reason::CANCEL);
        }
        Ok(answer)
    }
}

/// The statuses of the answers before the final one.
async fn interim(response: &mut ResponseFuture) -> Result<Vec<u16>, h2::Error> {
    let mut statuses = Vec::new();
    while let Some(interim) = poll_fn(|cx| response.poll_informational(cx)).await {
        statuses.push(interim?.status().as_u16());
    }
    Ok(statuses)
}

/// Serves until it is dropped.
pub(super) async fn serve(listener: TcpListener, recorder: Recorder) {
    let mut connections = JoinSet::new();
    while let Ok((tcp, _)) = listener.accept().await {
        tcp.set_nodelay(true).expect("a socket");
        let recorder = recorder.clone();
        connections.spawn(async move {
            let Ok(mut library) = h2::server::handshake(tcp).await else {
                return;
            };
            let mut streams = JoinSet::new();
            while let Some(Ok((request, respond))) = library.accept().await {
                let recorder = recorder.clone();
                streams.spawn(async move {
                    // The caller sees the stream break.
                    let _ = answer(request, respond, &recorder).await;
                });
            }
        });
    }
}

async fn answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    recorder: &Recorder,
) -> Result<(), h2::Error> {
    let (head, mut body) = request.into_parts();
    let authority = head.uri.authority().map_or("", |authority| authority.as_str());
    let target = head.uri.path_and_query().map_or("", |target| target.as_str());
    let mut seen = Message::request(
        head.method.as_str().as_bytes(),
        target.as_bytes(),
        authority.as_bytes(),
    );
    seen.line
        .push(("scheme", head.uri.scheme_str().unwrap_or_default().into()));
    seen.fields = listed(&head.headers);
    let case = seen
        .values("x-case")
        .next()
        .and_then(|number| recorder.case(number));
    let Some(case) = case else { return Ok(()) };
    if case.upload == Upload::Early {
        seen.framing = Framing::Stream;
        while seen.body.len() < case.upload_body().len() {
            take(&mut body, &mut seen).await?;
        }
    } else {
        receive(&mut body, &mut seen).await?;
    }
    recorder.saw(case.number, seen);

    for status in case.interim {
        let interim = Response::builder().status(*status).header("link", "</a.css>");
        respond.send_informational(interim.body(()).expect("an interim answer"))?;
    }
    let mut response = Response::builder()
        .status(case.status)
        .body(())
        .expect("an answer");
    *response.headers_mut() = map(&case.answer_fields(Protocol::Http2, authority));
    let is_empty = case.is_bodiless() || case.download == Download::Length(0);
    let mut download = respond.send_response(response, is_empty)?;
    if !is_empty {
        send(&mut download, &case.answer_body(), &case.answer_trailers(), false).await?;
    }
    Ok(())
}

/// Sends a body as windows allow, and what follows it.
async fn send(
    stream: &mut SendStream<Bytes>,
    body: &[u8],
    trailers: &Fields,
    is_open: bool,
) -> Result<(), h2::Error> {
    let mut rest = Bytes::copy_from_slice(body);
    while !rest.is_empty() {
        stream.reserve_capacity(rest.len());
        let Some(room) = poll_fn(|cx| stream.poll_capacity(cx)).await else {
            return Ok(());
        };
        let room = room?.min(rest.len());
        stream.send_data(rest.split_to(room), false)?;
    }
    if is_open {
        return Ok(());
    }
    if trailers.is_empty() {
        return stream.send_data(Bytes::new(), true);
    }
    stream.send_trailers(map(trailers))
}

/// Reads a body to its end.
async fn receive(body: &mut RecvStream, message: &mut Message) -> Result<(), h2::Error> {
    if body.is_end_stream() {
        return Ok(());
    }
    message.framing = Framing::Stream;
    while take(body, message).await?.is_some() {}
    let trailers = body.trailers().await?;
    message.trailers = trailers.as_ref().map(listed).unwrap_or_default();
    Ok(())
}

async fn take(body: &mut RecvStream, message: &mut Message) -> Result<Option<()>, h2::Error> {
    let Some(piece) = body.data().await.transpose()? else {
        return Ok(None);
    };
    body.flow_control().release_capacity(piece.len())?;
    message.body.extend(&piece);
    Ok(Some(()))
}

fn map(fields: &Fields) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
        headers.append(name, HeaderValue::from_bytes(value).expect("a value"));
    }
    headers
}

fn listed(headers: &HeaderMap) -> Fields {
    let field = |(name, value): (&HeaderName, &HeaderValue)| (name.to_string(), value.as_bytes().to_vec());
    headers.iter().map(field).collect()
}
