//! Comments in the silence of server-sent events.

use crate::frames::{self, Frame, Frames};
use crate::hand::{Call, HAND, HandUpstream};
use crate::report::Report;
use crate::wire::head;
use crate::world::World;
use testkit::http::{Connection, Ending, Piece};
use tokio::task::JoinSet;

const COMMENT: &str = ": keepalive\n\n";
const EVENT: &str = "data: 1\n\n";

/// A caller, by whose protocol and whose framing its stream is written.
enum Caller {
    /// By the gateway alone, or by its library where the caller takes trailers.
    Http1(Connection),
    Http2(Frames),
}

/// How a stream went on.
enum Next {
    Data(String),
    /// Whether it was a clean one.
    End(bool),
}

impl Caller {
    async fn http1(world: &World, id: &str, lines: &str) -> Self {
        let mut client = Connection::open(world.addr()).await;
        let lines = format!("X-Request-Id: {id}\r\n{lines}");
        let request = head(world, "GET", HAND, "/", &lines);
        client.send(request).await.expect("an open connection");
        Self::Http1(client)
    }

    /// With a window of this size for its stream.
    async fn http2(world: &World, id: &str, window: u8) -> Self {
        let mut client = Frames::open(world.addr()).await;
        // SETTINGS_INITIAL_WINDOW_SIZE
        let settings = Frame::new(frames::SETTINGS, 0, 0, [0, 4, 0, 0, 0, window]);
        let block = frames::request("GET", &world.token(HAND), HAND, "/", &[("x-request-id", id)]);
        let request = Frame::new(
            frames::HEADERS,
            frames::END_STREAM | frames::END_HEADERS,
            1,
            block,
        );
        let sent = client.send(&[settings, request]).await;
        sent.expect("an open connection");
        Self::Http2(client)
    }

    /// The next piece; empty frames count for nothing.
    async fn next(&mut self) -> Next {
        match self {
            Self::Http1(client) => match client.piece().await {
                Piece::Data(data) => Next::Data(text(data)),
                Piece::End(ending, _) => Next::End(ending == Ending::Complete),
            },
            Self::Http2(client) => loop {
                let frame = client.next().await.expect("an open connection");
                match (frame.kind, frame.payload.is_empty()) {
                    (frames::DATA, false) => return Next::Data(text(frame.payload)),
                    (frames::DATA, true) if frame.flags & frames::END_STREAM != 0 => return Next::End(true),
                    (frames::RST_STREAM, _) => return Next::End(false),
                    _ => {}
                }
            },
        }
    }

    async fn data(&mut self) -> String {
        match self.next().await {
            Next::Data(text) => text,
            Next::End(is_clean) => format!("the end, a clean one: {is_clean}"),
        }
    }

    /// What is left, and whether it ends cleanly.
    async fn rest(&mut self) -> (Vec<String>, bool) {
        let mut pieces = Vec::new();
        loop {
            match self.next().await {
                Next::Data(text) => pieces.push(text),
                Next::End(is_clean) => return (pieces, is_clean),
            }
        }
    }
}

fn text(data: Vec<u8>) -> String {
    String::from_utf8(data).expect("UTF-8")
}

fn answer(fields: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n{fields}Transfer-Encoding: chunked\r\n\r\n"
    )
}

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

/// Takes the comments before and behind an event, to the end.
async fn with_comments(caller: &mut Caller, call: &mut Call) -> Result<(), String> {
    let first = caller.data().await;
    if first != COMMENT {
        return Err(format!("no comment, but {first:?}"));
    }
    // Its mark belongs at the beginning, where the comment is now.
    call.send(chunk(&format!("\u{feff}{EVENT}"))).await;
    let event = loop {
        match caller.data().await {
            comment if comment == COMMENT => {}
            other => break other,
        }
    };
    if event != EVENT {
        return Err(format!("no event, but {event:?}"));
    }
    let (rest, is_clean) = caller.rest().await;
    match is_clean && !rest.is_empty() && rest.iter().all(|piece| piece == COMMENT) {
        true => Ok(()),
        false => Err(format!("{rest:?} {is_clean}")),
    }
}

/// A caller that takes a part of an event gets the rest when it takes more, and no comment that came due meanwhile.
async fn not_taken(world: &World, upstream: &mut HandUpstream) -> Result<(), String> {
    let mut caller = Caller::http2(world, "not-taken", 4).await;
    let mut call = upstream.call().await;
    call.head().await;
    call.send(format!("{}{}", answer(""), chunk(EVENT))).await;
    let first = caller.data().await;
    // The silence has its end.
    world.events_of("not-taken", 1).await;
    if let Caller::Http2(client) = &mut caller {
        let open = Frame::new(frames::WINDOW_UPDATE, 0, 1, [0, 0, 4, 0]);
        client.send(&[open]).await.expect("an open connection");
    }
    let (rest, is_clean) = caller.rest().await;
    match first + &rest.concat() == EVENT && is_clean {
        true => Ok(()),
        false => Err(format!("{rest:?} {is_clean}")),
    }
}

#[tokio::test]
async fn silent_event_stream_gets_comments_between_events_that_are_no_bytes_of_the_upstream() {
    let mut upstream = HandUpstream::start().await;
    let world = World::builder()
        .hand(&upstream)
        .env("SSE_KEEPALIVE", "200ms")
        .env("STREAM_IDLE_TIMEOUT", "2s")
        .start()
        .await;
    let mut report = Report::default();
    let mut streams = JoinSet::new();
    for (id, lines, fields, begun, has_comments) in [
        ("chunks", "", "", "", true),
        ("library", "TE: trailers\r\n", "", "", true),
        ("http2", "", "", "", true),
        ("within-an-event", "", "", "data: 1\n", false),
        ("coded", "", "Content-Encoding: gzip\r\n", "", false),
    ] {
        let mut caller = match id {
            "http2" => Caller::http2(&world, id, u8::MAX).await,
            _ => Caller::http1(&world, id, lines).await,
        };
        let mut call = upstream.call().await;
        call.head().await;
        // In one piece, so that no comment comes between.
        let begins = if begun.is_empty() {
            String::new()
        } else {
            chunk(begun)
        };
        call.send(answer(fields) + &begins).await;
        streams.spawn(async move {
            if let Caller::Http1(client) = &mut caller {
                client.head().await;
            }
            if has_comments {
                return (id, with_comments(&mut caller, &mut call).await, 12);
            }
            let (pieces, is_clean) = caller.rest().await;
            let went = match pieces.concat() == begun && !is_clean {
                true => Ok(()),
                false => Err(format!("{pieces:?} {is_clean}")),
            };
            (id, went, begun.len())
        });
    }
    report.note("not taken", not_taken(&world, &mut upstream).await);
    for (id, went, bytes) in streams.join_all().await {
        report.note(id, went);
        let event = &world.events_of(id, 1).await[0];
        report.equal(id, event.metadata("response_bytes").as_u64(), Some(bytes as u64));
        report.equal(id, event.metadata("error_kind").as_str(), Some("upstream_silent"));
    }
    report.finish();
}
