//! Extended CONNECT (RFC 8441).

use super::page::said_by_page;
use super::*;
use crate::frames::{self, Frame, Frames};
use crate::revocation::REVOKE;
use crate::world::ZONE;
use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::ext::Protocol;
use h2::{RecvStream, SendStream};
use http::{Method, Request};
use testkit::http::Stream;
use testkit::wait::{PATIENCE, until};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// SETTINGS_ENABLE_CONNECT_PROTOCOL (RFC 8441 §3).
const ENABLE_CONNECT_PROTOCOL: [u8; 6] = [0, 8, 0, 0, 0, 1];

/// A connection of a client that knows extended CONNECT.
pub(super) struct Client {
    sender: SendRequest<Bytes>,
    _driver: JoinSet<()>,
}

impl Client {
    async fn open(addr: SocketAddr) -> Self {
        Self::over(TcpStream::connect(addr).await.expect("a connection")).await
    }

    pub(super) async fn over(stream: impl Stream + 'static) -> Self {
        let (sender, connection) = h2::client::handshake(stream).await.expect("an HTTP/2 connection");
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            let _ended = connection.await;
        });
        until("a server that takes extended CONNECT", async || {
            sender.is_extended_connect_protocol_enabled().then_some(())
        })
        .await;
        Self {
            sender,
            _driver: driver,
        }
    }

    async fn connect(
        &mut self,
        protocol: Option<&'static str>,
        fields: &[(&str, &str)],
    ) -> (ResponseFuture, SendStream<Bytes>) {
        let mut request = Request::builder().method(Method::CONNECT);
        request = match protocol {
            Some(_) => request.uri("http://gateway.example/chat?q=1"),
            None => request.uri("gateway.example:80"),
        };
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let mut request = request.body(()).expect("a request");
        request.extensions_mut().extend(
            protocol
                .map(Protocol::from_static)
                .map(|protocol| {
                    let mut carrier = http::Extensions::new();
                    carrier.insert(protocol);
                    carrier
                })
                .unwrap_or_default(),
        );
        let mut sender = self.sender.clone().ready().await.expect("a stream");
        sender.send_request(request, false).expect("a stream")
    }
}

/// A WebSocket of an application, switched, and what its upstream sees.
pub(super) async fn websocket(
    client: &mut Client,
    world: &World,
    upstream: &mut HandUpstream,
) -> (http::Response<RecvStream>, SendStream<Bytes>, Call) {
    let bearer = format!("Bearer {}", world.token(HAND));
    let fields = [("authorization", bearer.as_str()), ("x-caracal-resource", HAND)];
    let (response, send) = client.connect(Some("websocket"), &fields).await;
    let mut call = upstream.call().await;
    let keys = values(&call.head().await, "sec-websocket-key");
    call.send(switch(&keys[0], "")).await;
    (answer(response).await, send, call)
}

async fn answer(response: ResponseFuture) -> http::Response<RecvStream> {
    timeout(PATIENCE, response)
        .await
        .expect("an answer in time")
        .expect("an answer")
}

/// The next data; none at the end. Empty frames count for nothing.
pub(super) async fn data(body: &mut RecvStream) -> Option<Bytes> {
    loop {
        let data = timeout(PATIENCE, body.data()).await.expect("data in time")?;
        match data {
            Ok(data) if data.is_empty() => {}
            Ok(data) => {
                let _ = body.flow_control().release_capacity(data.len());
                return Some(data);
            }
            Err(_) => return None,
        }
    }
}

/// Another stream of the same connection, which each side ends for itself, with what a page has: subprotocols.
async fn ended_by_both(client: &mut Client, world: &World, upstream: &mut HandUpstream, report: &mut Report) {
    let (bearer, resource) = said_by_page(&world.token(HAND));
    let offered = format!("{bearer}, {resource}");
    let fields = [
        ("sec-websocket-protocol", offered.as_str()),
        ("x-request-id", "ended"),
    ];
    let (response, mut send) = client.connect(Some("websocket"), &fields).await;
    let mut call = upstream.call().await;
    let keys = values(&call.head().await, "sec-websocket-key");
    call.send(switch(&keys[0], "")).await;
    let (head, mut body) = answer(response).await.into_parts();
    let told = head
        .headers
        .get("sec-websocket-protocol")
        .map(|name| name.as_bytes());
    report.equal("a page", told, Some(resource.as_bytes()));
    send.send_data(Bytes::from_static(b"up"), true)
        .expect("an open stream");
    report.equal("ended", call.until_end().await, b"up");
    call.send("down").await;
    drop(call);
    report.equal("ended", data(&mut body).await, Some(Bytes::from_static(b"down")));
    report.equal("ended", data(&mut body).await, None);
    let event = world.events_of("ended", 1).await.remove(0);
    report.equal("ended", event.text("evaluation_status"), "executed");
    report.holds("ended", event.metadata("error_kind").is_null());
}

#[tokio::test]
async fn upgrade_over_http2_is_an_extended_connect_that_crosses_as_a_handshake() {
    let mut upstream = HandUpstream::start().await;
    let world = World::builder().hand(&upstream).start().await;
    let mut report = Report::default();
    let mut client = Client::open(world.addr()).await;

    let minted = world.mint(HAND);
    let bearer = format!("Bearer {}", minted.token.expose());
    let fields = [
        ("authorization", bearer.as_str()),
        ("x-caracal-resource", HAND),
        ("x-request-id", "extended"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-protocol", "chat"),
    ];
    let (response, mut send) = client.connect(Some("websocket"), &fields).await;
    let mut call = upstream.call().await;
    let asked = call.head().await;
    report.holds(&asked, asked.starts_with("GET /chat?q=1 HTTP/1.1\r\n"));
    let keys = values(&asked, "sec-websocket-key");
    for (name, value) in [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-protocol", "chat"),
    ] {
        report.equal(name, values(&asked, name).join("|"), value);
    }
    call.send(switch(&keys[0], "Sec-WebSocket-Protocol: chat\r\n"))
        .await;
    call.send(text_frame("first", false)).await;
    let (head, mut body) = answer(response).await.into_parts();
    report.equal("the switch", head.status.as_u16(), 200);
    report.equal(
        "the switch",
        head.headers
            .get("sec-websocket-protocol")
            .map(|name| name.as_bytes()),
        Some(&b"chat"[..]),
    );
    report.holds("no proof", !head.headers.contains_key("sec-websocket-accept"));
    report.equal(
        "down",
        data(&mut body).await,
        Some(text_frame("first", false).into()),
    );
    send.send_data(text_frame("up", true).into(), false)
        .expect("an open stream");
    report.equal("up", call.exactly(8).await, text_frame("up", true));
    let fields = [("session_id", minted.sid.as_str()), ("zone_id", ZONE)];
    world.publish(REVOKE, &fields).await;
    let told = close_frame(1008, "session revoked");
    report.equal("revoked", data(&mut body).await, Some(told.clone().into()));
    report.equal("revoked", data(&mut body).await, None);
    report.equal("revoked", unmasked(&call.until_end().await), Some(told));
    let event = world.events_of("extended", 1).await.remove(0);
    report.equal(
        "evidence",
        (
            event.text("evaluation_status"),
            event.metadata("revocation_interrupted"),
        ),
        ("executed", &true.into()),
    );
    report.equal("evidence", event.metadata("gateway_status").as_u64(), Some(200));
    report.equal("evidence", event.metadata("upstream_status").as_u64(), Some(101));
    report.equal("evidence", event.metadata("request_bytes").as_u64(), Some(8));

    ended_by_both(&mut client, &world, &mut upstream, &mut report).await;
    report.finish();
}

#[tokio::test]
async fn upgrade_over_http2_that_is_not_made_is_refused_or_answered_but_never_a_success() {
    let mut upstream = HandUpstream::start().await;
    let world = World::builder().hand(&upstream).start().await;
    let mut report = Report::default();
    let mut client = Client::open(world.addr()).await;
    for (case, protocol, status, words) in [
        (
            "another protocol",
            Some("connect-udp"),
            501,
            "protocol not allowed",
        ),
        ("a tunnel", None, 405, "method not allowed"),
        ("no mandate", Some("websocket"), 401, "missing bearer token"),
    ] {
        let (response, _send) = client.connect(protocol, &[("x-caracal-resource", HAND)]).await;
        let (head, mut body) = answer(response).await.into_parts();
        let text = data(&mut body).await.unwrap_or_default();
        report.equal(case, head.status.as_u16(), status);
        report.holds(case, String::from_utf8_lossy(&text).contains(words));
    }
    for (case, said, status) in [
        ("200", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno", 502),
        (
            "unfit",
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
            502,
        ),
        (
            "403",
            "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno",
            403,
        ),
    ] {
        let bearer = format!("Bearer {}", world.token(HAND));
        let fields = [("authorization", bearer.as_str()), ("x-caracal-resource", HAND)];
        let (response, mut send) = client.connect(Some("websocket"), &fields).await;
        send.send_data(Bytes::from_static(b"early"), false)
            .expect("an open stream");
        let mut call = upstream.call().await;
        call.head().await;
        call.send(said).await;
        report.equal(case, answer(response).await.status().as_u16(), status);
        report.equal(case, call.until_end().await, b"");
    }
    report.finish();
}

#[tokio::test]
async fn upgrade_over_http2_whose_caller_takes_nothing_is_reset_alone_when_its_authority_is_revoked() {
    let mut upstream = HandUpstream::start().await;
    let world = World::builder().hand(&upstream).start().await;
    let mut report = Report::default();
    let mut client = Frames::open(world.addr()).await;
    let minted = world.mint(HAND);
    let fields = [(":protocol", "websocket")];
    let block = frames::request("CONNECT", minted.token.expose(), HAND, "/", &[]);
    let block = [frames::block(&fields), block].concat();
    // SETTINGS_INITIAL_WINDOW_SIZE: four bytes of each stream.
    let settings = Frame::new(frames::SETTINGS, 0, 0, [0, 4, 0, 0, 0, 4]);
    let request = Frame::new(frames::HEADERS, frames::END_HEADERS, 1, block);
    client
        .send(&[settings, request])
        .await
        .expect("an open connection");
    let mut call = upstream.call().await;
    let keys = values(&call.head().await, "sec-websocket-key");
    call.send(switch(&keys[0], "")).await;
    call.send(text_frame("hello", false)).await;
    let mut seen = Vec::new();
    while seen.len() < 4 {
        let frame = client.next().await.expect("an open connection");
        if frame.kind == frames::SETTINGS && frame.flags & frames::ACK == 0 {
            let has = frame
                .payload
                .chunks(6)
                .any(|setting| setting == ENABLE_CONNECT_PROTOCOL);
            report.holds("the setting", has);
        }
        if frame.kind == frames::DATA {
            seen.extend(frame.payload);
        }
    }
    let fields = [("session_id", minted.sid.as_str()), ("zone_id", ZONE)];
    world.publish(REVOKE, &fields).await;
    let end = client.find(|frame| frame.stream == 1).await.expect("an end");
    report.equal("revoked", end.kind, frames::RST_STREAM);
    // The connection lives on, and carries others, which their caller resets while the upstream holds still, also behind
    // the end of its own side.
    for (stream, id, ends) in [(3, "reset", false), (5, "reset-behind-its-end", true)] {
        let fields = [(":protocol", "websocket")];
        let further = [("x-request-id", id)];
        let request = frames::request("CONNECT", &world.token(HAND), HAND, "/", &further);
        let request = [frames::block(&fields), request].concat();
        let request = Frame::new(frames::HEADERS, frames::END_HEADERS, stream, request);
        client.send(&[request]).await.expect("an open connection");
        let mut call = upstream.call().await;
        let keys = values(&call.head().await, "sec-websocket-key");
        call.send(switch(&keys[0], "")).await;
        let head = client.find(|frame| frame.stream == stream).await;
        report.equal(id, head.expect("an answer").kind, frames::HEADERS);
        if ends {
            let end = Frame::new(frames::DATA, frames::END_STREAM, stream, []);
            client.send(&[end]).await.expect("an open connection");
            report.equal(id, call.until_end().await, b"");
        }
        // CANCEL.
        let reset = Frame::new(frames::RST_STREAM, 0, stream, [0, 0, 0, 8]);
        client.send(&[reset]).await.expect("an open connection");
        let event = world.events_of(id, 1).await.remove(0);
        report.equal(
            id,
            event.metadata("error_kind").as_str(),
            Some("client_cancelled"),
        );
        // Behind the end of what it was sent, only writing would show it.
        report.holds(id, ends || call.is_reset().await);
    }
    report.finish();
}
