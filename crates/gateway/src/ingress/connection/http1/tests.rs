use std::collections::VecDeque;
use std::io;

use testkit::wait::PATIENCE;
use tokio::io::{AsyncReadExt as _, DuplexStream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::super::state::REST_AFTER;
use super::super::{ConnectionContext, Ending, Handler, InFlight, Peer, Protocol, TimeLimits, serve};
use super::*;

const FAR: std::time::Duration = std::time::Duration::from_secs(3600);
const GET: &str = "GET /live HTTP/1.1\r\nHost: a\r\n";
const OTHER: &str = "GET /other HTTP/1.1\r\nHost: a\r\n\r\n";

/// Events of a stream; one that is not there breaks it off.
type Events = mpsc::UnboundedReceiver<Option<&'static str>>;

enum TestBody {
    Events(Events, InFlight, Endings),
    Whole(Option<&'static str>),
}

/// How live streams ended, as far as their connections know.
type Endings = mpsc::UnboundedSender<Option<Ending>>;

impl Drop for TestBody {
    fn drop(&mut self) {
        if let Self::Events(_, in_flight, endings) = self {
            endings.send(in_flight.ended_by()).unwrap();
        }
    }
}

impl LiveBody for TestBody {
    fn is_live(&self) -> bool {
        matches!(self, Self::Events(..))
    }
}

impl Body for TestBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let frame = |text: &'static str| Frame::data(Bytes::from_static(text.as_bytes()));
        match self.get_mut() {
            Self::Whole(text) => Poll::Ready(text.take().map(|text| Ok(frame(text)))),
            Self::Events(events, ..) => events
                .poll_recv(cx)
                .map(|event| event.map(|event| event.map(frame).ok_or_else(|| io::Error::other("broken")))),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(text) => SizeHint::with_exact(text.map_or(0, str::len) as u64),
            Self::Events(..) => SizeHint::default(),
        }
    }
}

/// Answers `/live` with the next stream, everything else with its path.
struct Streams(Mutex<VecDeque<Events>>, Endings);

impl Handler for Streams {
    type Body = TestBody;

    async fn answer(&self, request: Request<Incoming>, _: Peer, in_flight: InFlight) -> Response<TestBody> {
        Response::new(match request.uri().path() {
            "/live" => TestBody::Events(self.0.lock().pop_front().unwrap(), in_flight, self.1.clone()),
            _ => TestBody::Whole(Some("other")),
        })
    }
}

struct Fixture {
    caller: DuplexStream,
    streams: VecDeque<mpsc::UnboundedSender<Option<&'static str>>>,
    drain: CancellationToken,
    cut: CancellationToken,
    tracker: TaskTracker,
    endings: mpsc::UnboundedReceiver<Option<Ending>>,
}

impl Fixture {
    /// A connection whose caller can take so many bytes at a time.
    fn new(pipe: usize) -> Self {
        let (senders, receivers) = (0..2).map(|_| mpsc::unbounded_channel()).unzip();
        let (caller, stream) = tokio::io::duplex(pipe);
        let (drain, cut) = (CancellationToken::new(), CancellationToken::new());
        let tracker = TaskTracker::new();
        let (ended, endings) = mpsc::unbounded_channel();
        let context = ConnectionContext {
            handler: Arc::new(Streams(Mutex::new(receivers), ended)),
            limits: TimeLimits {
                head: FAR,
                idle: FAR,
                write: FAR,
            },
            shutdown: Shutdown {
                drain: drain.clone(),
                idle: drain.clone(),
                streams: CancellationToken::new(),
                cut: cut.clone(),
            },
            connections: tracker.clone(),
        };
        let peer = Peer {
            address: ([127, 0, 0, 1], 1).into(),
            scheme: admission::Scheme::Http,
            certificate: None,
        };
        tracker.spawn(serve(stream, peer, Protocol::Http1, context));
        tracker.close();
        Self {
            caller,
            streams: senders,
            drain,
            cut,
            tracker,
            endings,
        }
    }

    async fn send(&mut self, bytes: &str) {
        self.caller.write_all(bytes.as_bytes()).await.unwrap();
    }

    /// Reads on until this comes.
    async fn until(&mut self, end: &str) -> String {
        let mut seen = Vec::new();
        let reading = async {
            while !seen.ends_with(end.as_bytes()) {
                seen.push(self.caller.read_u8().await.unwrap());
            }
        };
        let read = tokio::time::timeout(PATIENCE, reading).await;
        assert!(read.is_ok(), "{:?}", String::from_utf8_lossy(&seen));
        String::from_utf8(seen).unwrap()
    }

    /// Nothing more comes, and the connection ends.
    async fn ends(mut self) {
        let mut rest = Vec::new();
        let reading = self.caller.read_to_end(&mut rest);
        tokio::time::timeout(PATIENCE, reading).await.unwrap().unwrap();
        assert!(rest.is_empty(), "{}", String::from_utf8_lossy(&rest));
        tokio::time::timeout(PATIENCE, self.tracker.wait()).await.unwrap();
    }

    /// What comes until the connection ends, which it does, and how its last live stream ended.
    async fn rest(mut self) -> (String, Option<Ending>) {
        let mut rest = String::new();
        let reading = self.caller.read_to_string(&mut rest);
        tokio::time::timeout(PATIENCE, reading).await.unwrap().unwrap();
        tokio::time::timeout(PATIENCE, self.tracker.wait()).await.unwrap();
        let mut last = None;
        while let Ok(ending) = self.endings.try_recv() {
            last = Some(ending);
        }
        (rest, last.unwrap())
    }
}

#[tokio::test]
async fn live_stream_is_written_in_chunks_and_keeps_its_connection() {
    // The last pipe holds no chunk whole.
    for pipe in [64 * 1024, 7] {
        let mut fixture = Fixture::new(pipe);
        for _ in 0..2 {
            let events = fixture.streams.pop_front().unwrap();
            fixture.send(&format!("{GET}\r\n")).await;
            let head = fixture.until("\r\n\r\n").await;
            assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
            assert!(head.contains("transfer-encoding: chunked\r\n"), "{head}");
            for event in ["data: 1\n\n", "", "data: and another\n\n"] {
                events.send(Some(event)).unwrap();
            }
            fixture
                .until("9\r\ndata: 1\n\n\r\n13\r\ndata: and another\n\n\r\n")
                .await;
            drop(events);
            assert_eq!(fixture.until("0\r\n\r\n").await, "0\r\n\r\n");
        }
        fixture.send(OTHER).await;
        fixture.until("\r\n\r\nother").await;
        fixture.drain.cancel();
        assert_eq!(fixture.rest().await, (String::new(), None));
    }
}

#[tokio::test]
async fn connection_that_rested_goes_on_and_ends_with_the_process() {
    let mut fixture = Fixture::new(64 * 1024);
    for _ in 0..2 {
        fixture.send(OTHER).await;
        fixture.until("\r\n\r\nother").await;
        // The time limit under test, and then some.
        tokio::time::sleep(2 * REST_AFTER).await;
    }
    fixture.drain.cancel();
    fixture.ends().await;
}

#[tokio::test]
async fn head_that_is_too_large_is_refused_and_ends_the_connection() {
    for (start, repeated) in [("GET /", "a"), ("GET / HTTP/1.1\r\n", "a: b\r\n")] {
        let mut fixture = Fixture::new(64 * 1024);
        let head = format!("{OTHER}{start}{}", repeated.repeat(20 * 1024 / repeated.len()));
        fixture.send(&head).await;
        fixture.until("\r\n\r\nother").await;
        let refusal = fixture.until("\r\n\r\n").await;
        assert!(refusal.starts_with("HTTP/1.1 431 "), "{refusal}");
        assert!(refusal.contains("\r\nconnection: close\r\n"), "{refusal}");
        // Its side ends, which it may do once it has heard.
        fixture.caller.shutdown().await.unwrap();
        fixture.ends().await;
    }
}

#[tokio::test]
async fn live_stream_is_followed_by_what_was_asked_behind_it() {
    let mut fixture = Fixture::new(64 * 1024);
    let events = fixture.streams.pop_front().unwrap();
    fixture.send(&format!("{GET}\r\n{OTHER}")).await;
    events.send(Some("data: 1\n\n")).unwrap();
    fixture.until("9\r\ndata: 1\n\n\r\n").await;
    drop(events);
    let answers = fixture.until("\r\n\r\nother").await;
    assert!(answers.starts_with("0\r\n\r\nHTTP/1.1 200 OK\r\n"), "{answers}");
}

#[tokio::test]
async fn live_stream_that_breaks_off_has_no_last_chunk() {
    let mut fixture = Fixture::new(64 * 1024);
    let events = fixture.streams.pop_front().unwrap();
    fixture.send(&format!("{GET}\r\n")).await;
    events.send(Some("data: 1\n\n")).unwrap();
    events.send(None).unwrap();
    let (answer, ending) = fixture.rest().await;
    assert_eq!(ending, None, "the body knows why");
    assert!(answer.ends_with("\r\n\r\n9\r\ndata: 1\n\n\r\n"), "{answer}");
}

#[tokio::test]
async fn live_stream_ends_its_connection_where_that_was_said_or_the_process_stops() {
    for (options, drains) in [("Connection: close\r\n", false), ("", true)] {
        let mut fixture = Fixture::new(64 * 1024);
        let events = fixture.streams.pop_front().unwrap();
        fixture.send(&format!("{GET}{options}\r\n")).await;
        let head = fixture.until("\r\n\r\n").await;
        assert_eq!(
            head.contains("connection: close\r\n"),
            !options.is_empty(),
            "{head}"
        );
        if drains {
            fixture.drain.cancel();
        }
        events.send(Some("data: 1\n\n")).unwrap();
        drop(events);
        let rest = "9\r\ndata: 1\n\n\r\n0\r\n\r\n".to_owned();
        assert_eq!(fixture.rest().await, (rest, None));
    }
}

#[tokio::test]
async fn live_stream_is_cut_when_the_grace_is_over() {
    let mut fixture = Fixture::new(64 * 1024);
    fixture.send(&format!("{GET}\r\n")).await;
    fixture.until("\r\n\r\n").await;
    fixture.cut.cancel();
    assert_eq!(fixture.rest().await, (String::new(), Some(Ending::Stopped)));
}

#[tokio::test]
async fn live_stream_whose_caller_left_ends() {
    let mut fixture = Fixture::new(64 * 1024);
    let events = fixture.streams.pop_front().unwrap();
    fixture.send(&format!("{GET}\r\n")).await;
    fixture.until("\r\n\r\n").await;
    let Fixture {
        caller,
        tracker,
        mut endings,
        ..
    } = fixture;
    drop(caller);
    // A pipe says so only to who writes.
    events.send(Some("data: 1\n\n")).unwrap();
    tokio::time::timeout(PATIENCE, tracker.wait()).await.unwrap();
    assert_eq!(endings.recv().await, Some(Some(Ending::CallerLeft)));
}

#[test]
fn live_stream_is_written_without_the_library_only_where_its_framing_is_plain() {
    for (method, version, fields, expect) in [
        (Method::GET, Version::HTTP_11, &[][..], Some(true)),
        (
            Method::POST,
            Version::HTTP_11,
            &[("connection", "Keep-Alive")],
            Some(true),
        ),
        (
            Method::POST,
            Version::HTTP_11,
            &[("connection", "keep-alive, Close")],
            Some(false),
        ),
        (
            Method::GET,
            Version::HTTP_11,
            &[("connection", "close")],
            Some(false),
        ),
        (
            Method::GET,
            Version::HTTP_11,
            &[("connection", "x"), ("connection", "close")],
            None,
        ),
        (Method::GET, Version::HTTP_11, &[("connection", "upgrade")], None),
        (Method::GET, Version::HTTP_11, &[("te", "trailers")], None),
        (Method::HEAD, Version::HTTP_11, &[], None),
        (Method::GET, Version::HTTP_10, &[], None),
        (Method::GET, Version::HTTP_2, &[], None),
    ] {
        let mut request = Request::builder().method(method).version(version);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let eligible = Eligible::of(&request.body(()).unwrap());
        assert_eq!(eligible.map(|eligible| eligible.is_kept), expect, "{fields:?}");
    }
}
