//! Streams of events, whose bodies read the socket without the HTTP library.

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};

use admission::Scheme;
use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;

use super::server::{OK, Seen, Server, request, until_closed};
use super::{Fixture, PoolLimits, Target, Upload, client_with, get, origin, plain};
use crate::http::BodyError;

const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n";
const CHUNKED: &str = "Transfer-Encoding: chunked\r\n\r\n";
const EVENT: &str = "9\r\ndata: 1\n\n\r\n";
const END: &str = "0\r\n\r\n";

/// Answers the first request of each connection with these writes, the next ones with [`OK`].
fn answers(writes: Vec<String>) -> Server {
    Server::start(move |number, stream, seen| {
        assert!(request(stream));
        let _ = seen.send(Seen::Request(number));
        for bytes in &writes {
            let _ = stream.write_all(bytes.as_bytes());
        }
        while request(stream) {
            let _ = seen.send(Seen::Request(number));
            let _ = stream.write_all(OK.as_bytes());
        }
        let _ = seen.send(Seen::Closed(number));
    })
}

/// Answers with this and closes.
fn answers_and_closes(answer: String) -> Server {
    Server::start(move |_, stream, _| {
        assert!(request(stream));
        let _ = stream.write_all(answer.as_bytes());
    })
}

/// The body and trailers that came, and whether they came to their end.
async fn read(fixture: &Fixture, server: &Server) -> (String, Option<HeaderMap>, Result<(), BodyError>) {
    let response = fixture.head("a", &[server.addr], &()).await.unwrap();
    assert_eq!(response.status(), 200);
    let (mut body, mut data, mut trailers) = (response.into_body(), Vec::new(), None);
    while let Some(frame) = body.frame().await {
        match frame.map(Frame::into_data) {
            Ok(Ok(bytes)) => data.extend_from_slice(&bytes),
            Ok(Err(frame)) => trailers = frame.into_trailers().ok(),
            Err(error) => return (String::from_utf8(data).unwrap(), trailers, Err(error)),
        }
    }
    (String::from_utf8(data).unwrap(), trailers, Ok(()))
}

/// What the server sees next; the connections' tasks get their turn.
async fn next(server: &Server) -> Seen {
    testkit::wait::until("the server to see something", async || server.seen()).await
}

/// No connection is left without its client.
async fn ends(fixture: Fixture) {
    drop(fixture.client);
    fixture.tracker.close();
    testkit::wait::until("the connections' tasks", async || {
        fixture.tracker.is_empty().then_some(())
    })
    .await;
}

#[tokio::test]
async fn event_stream_comes_as_it_is_however_it_arrives() {
    let early = format!("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n{HEAD}{CHUNKED}{EVENT}{END}");
    let whole = format!("{HEAD}{CHUNKED}{EVENT}{EVENT}{END}");
    let length = format!("{HEAD}Content-Length: 9\r\n\r\ndata: 1\n\n");
    let by_one = whole.chars().map(String::from).collect();
    for (writes, events) in [
        (vec![whole], 2),
        (by_one, 2),
        (vec![early], 1),
        (vec![length], 1),
        (vec![format!("{HEAD}{CHUNKED}"), EVENT.into(), END.into()], 1),
    ] {
        let (server, fixture) = (answers(writes.clone()), Fixture::new(PoolLimits::default()));
        let (data, trailers, end) = read(&fixture, &server).await;
        assert_eq!(data, "data: 1\n\n".repeat(events), "{writes:?}");
        assert!(trailers.is_none() && end.is_ok(), "{trailers:?} {end:?}");
        // Its connection is good for the next request.
        fixture.until(|stats| stats.idle == 1).await;
        testkit::wait::until("a connection that is ready", async || {
            (fixture.ask("a", server.addr).await == "ok" && fixture.client.stats().reused > 0).then_some(())
        })
        .await;
        ends(fixture).await;
    }
}

#[tokio::test]
async fn event_stream_has_its_trailers() {
    let answer = format!("{HEAD}Trailer: X-Sum\r\n{CHUNKED}{EVENT}0\r\nX-Sum: 1\r\nX-Sum: 2\r\n\r\n");
    let (server, fixture) = (answers(vec![answer]), Fixture::new(PoolLimits::default()));
    let (data, trailers, end) = read(&fixture, &server).await;
    assert_eq!(data, "data: 1\n\n");
    let sums: Vec<_> = trailers.iter().flat_map(|map| map.get_all("x-sum")).collect();
    assert_eq!(sums, ["1", "2"]);
    assert!(end.is_ok());
    fixture.until(|stats| stats.idle == 1).await;
}

#[tokio::test]
async fn event_stream_that_ends_before_its_end_is_broken() {
    for (rest, data) in [
        ("", ""),
        (EVENT, "data: 1\n\n"),
        ("9\r\ndata", "data"),
        ("9\r\ndata: 1\n\n\r\n0\r\n", "data: 1\n\n"),
    ] {
        let server = answers_and_closes(format!("{HEAD}{CHUNKED}{rest}"));
        let fixture = Fixture::new(PoolLimits::default());
        let (seen, _, end) = read(&fixture, &server).await;
        assert_eq!(seen, data);
        assert!(matches!(end, Err(BodyError::Incomplete)), "{rest:?}: {end:?}");
        assert_eq!(fixture.client.stats().idle, 0);
        ends(fixture).await;
    }
}

#[tokio::test]
async fn event_stream_that_is_malformed_ends_its_connection() {
    let server = answers(vec![format!("{HEAD}{CHUNKED}{EVENT}\r\n")]);
    let fixture = Fixture::new(PoolLimits::default());
    let (data, _, end) = read(&fixture, &server).await;
    assert_eq!(data, "data: 1\n\n");
    assert!(matches!(end, Err(BodyError::Malformed(_))), "{end:?}");
    assert_eq!(next(&server).await, Seen::Request(0));
    ends(fixture).await;
    assert_eq!(next(&server).await, Seen::Closed(0));
}

#[tokio::test]
async fn event_stream_without_chunks_ends_with_its_connection() {
    for head in [HEAD, "HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n"] {
        let server = answers_and_closes(format!("{head}\r\ndata: 1\n\n"));
        let fixture = Fixture::new(PoolLimits::default());
        let (data, _, end) = read(&fixture, &server).await;
        assert_eq!(data, "data: 1\n\n");
        assert!(end.is_ok(), "{end:?}");
        ends(fixture).await;
    }
}

#[tokio::test]
async fn event_stream_whose_server_closes_or_says_more_is_the_last_of_its_connection() {
    for (options, behind) in [
        ("Connection: close\r\n", ""),
        ("Connection: keep-alive, close\r\n", ""),
        ("", "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nunasked"),
        ("", "H"),
    ] {
        let answer = format!("{HEAD}{options}{CHUNKED}{EVENT}{END}{behind}");
        let (server, fixture) = (answers(vec![answer]), Fixture::new(PoolLimits::default()));
        let (data, _, end) = read(&fixture, &server).await;
        assert_eq!(data, "data: 1\n\n");
        assert!(end.is_ok(), "{end:?}");
        assert_eq!(next(&server).await, Seen::Request(0));
        assert_eq!(next(&server).await, Seen::Closed(0), "{options:?} {behind:?}");
    }
}

#[tokio::test]
async fn event_stream_that_is_dropped_closes_its_connection() {
    let server = answers(vec![format!("{HEAD}{CHUNKED}{EVENT}")]);
    let fixture = Fixture::new(PoolLimits::default());
    let mut body = fixture.head("a", &[server.addr], &()).await.unwrap().into_body();
    let frame = body.frame().await.unwrap().unwrap();
    assert_eq!(frame.into_data().unwrap(), "data: 1\n\n");
    assert_eq!(next(&server).await, Seen::Request(0));
    drop(body);
    assert_eq!(next(&server).await, Seen::Closed(0));
    assert_eq!(fixture.client.stats().idle, 0);
    ends(fixture).await;
}

#[tokio::test]
async fn event_stream_outlives_its_client() {
    let (more, wanted) = channel::<()>();
    let wanted = Mutex::new(wanted);
    let server = Server::start(move |number, stream, seen| {
        assert!(request(stream));
        let _ = stream.write_all(format!("{HEAD}{CHUNKED}").as_bytes());
        let _ = wanted.lock().unwrap().recv();
        let _ = stream.write_all(format!("{EVENT}{END}").as_bytes());
        until_closed(stream);
        let _ = seen.send(Seen::Closed(number));
    });
    let fixture = Fixture::new(PoolLimits::default());
    let body = fixture.head("a", &[server.addr], &()).await.unwrap().into_body();
    drop(fixture.client);
    more.send(()).unwrap();
    assert_eq!(body.collect().await.unwrap().to_bytes(), "data: 1\n\n");
    assert_eq!(next(&server).await, Seen::Closed(0));
}

#[tokio::test]
async fn event_stream_without_a_body_keeps_its_connection() {
    let server = answers(vec![format!("{HEAD}{CHUNKED}")]);
    let fixture = Fixture::new(PoolLimits::default());
    let origin = origin(Scheme::Http, "a", 80);
    let target = Target {
        origin: &origin,
        addresses: &[server.addr],
    };
    let mut head: Request<Full<Bytes>> = get(Full::default());
    *head.method_mut() = Method::HEAD;
    let response = fixture.client.send_to(&target, head, &()).await.unwrap();
    assert!(
        response
            .into_body()
            .collect()
            .await
            .unwrap()
            .to_bytes()
            .is_empty()
    );
    testkit::wait::until("a connection that is ready", async || {
        (fixture.ask("a", server.addr).await == "ok" && fixture.client.stats().reused > 0).then_some(())
    })
    .await;
}

/// The upstream answers before the request was sent whole: the library has the rest of it.
#[tokio::test]
async fn event_stream_that_begins_before_its_request_ends_is_read_by_the_library() {
    let server = Server::start(|_, stream: &mut TcpStream, _: &Sender<Seen>| {
        assert!(request(stream));
        let _ = stream.write_all(format!("{HEAD}{CHUNKED}{EVENT}").as_bytes());
        // The rest of the upload, then the rest of the answer.
        let mut rest = Vec::new();
        let mut byte = [0];
        while !rest.ends_with(b"0\r\n\r\n") {
            match std::io::Read::read(stream, &mut byte) {
                Ok(1) => rest.push(byte[0]),
                _ => return,
            }
        }
        let _ = stream.write_all(format!("{EVENT}{END}").as_bytes());
    });
    let (client, _clock, _tracker) = client_with(PoolLimits::default(), &plain());
    let target_origin = origin(Scheme::Http, "a", 80);
    let target = Target {
        origin: &target_origin,
        addresses: &[server.addr],
    };
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let upload: Upload = Box::pin(futures_util::stream::once(async move {
        let _ = ended.await;
        Ok(Frame::data(Bytes::from_static(b"end")))
    }));
    let request = Request::post("/").header("host", "test");
    let request = request.body(StreamBody::new(upload)).unwrap();
    let mut body = client.send_to(&target, request, &()).await.unwrap().into_body();
    let frame = body.frame().await.unwrap().unwrap();
    assert_eq!(frame.into_data().unwrap(), "data: 1\n\n");
    end.send(()).unwrap();
    assert_eq!(body.collect().await.unwrap().to_bytes(), "data: 1\n\n");
}
