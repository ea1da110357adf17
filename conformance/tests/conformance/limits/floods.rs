//! Floods of frames that cost their sender next to nothing.

use super::world_get;
use crate::frames::{self, Frame, Frames};
use crate::report::Report;
use crate::world::{NONE, World};

/// Frames of one flood.
const FRAMES: usize = 5000;
/// Frames in one write; what they ask for is read before the next.
const BATCH: usize = 250;
/// The flood within an open header block.
const OPEN: &str = "empty CONTINUATION";
/// What all floods together may take of memory.
const MOST_BYTES: u64 = 24 << 20;

/// Ends the connection, or is taken to its last frame: the answer to a `PING` behind it comes. Within an open header block no
/// other frame may come, so nothing is asked behind that.
async fn flood(client: &mut Frames, frames: impl Iterator<Item = Frame>, is_open: bool) -> bool {
    let frames: Vec<Frame> = frames.collect();
    for (number, batch) in frames.chunks(BATCH).enumerate() {
        if is_open {
            if client.send(batch).await.is_err() {
                return true;
            }
            continue;
        }
        let mark = u64::try_from(number).expect("a small number").to_be_bytes();
        let ping = Frame::new(frames::PING, 0, 0, mark);
        if client.send(batch).await.is_err() || client.send(&[ping]).await.is_err() {
            return true;
        }
        let answered = client
            .find(|frame| {
                frame.kind == frames::GOAWAY || (frame.kind == frames::PING && frame.payload == mark)
            })
            .await;
        if answered.is_none_or(|frame| frame.kind == frames::GOAWAY) {
            return true;
        }
    }
    // The end of the connection, which comes sooner than the time limit of a head.
    is_open
        && client
            .find(|frame| frame.kind == frames::GOAWAY)
            .await
            .is_none_or(|frame| !frame.payload.is_empty())
}

#[tokio::test]
async fn limits_of_http2_hold_where_small_frames_come_in_floods() {
    let world = World::start().await;
    let mut report = Report::default();
    report.equal("before", world_get(world.addr(), &world).await, 200);
    let pid = world.gateway.pid();
    let before = crate::crossing::peak(pid);

    let wider = |stream| Frame::new(frames::WINDOW_UPDATE, 0, stream, [0, 0, 0, 1]);
    let head = |method, path, stream| {
        let block = frames::request(method, &world.token(NONE), NONE, path, &[]);
        Frame::new(frames::HEADERS, frames::END_HEADERS, stream, block)
    };
    let of = |frame: Frame| move |_| frame.clone();
    // Whether the flood is one that has to end its connection.
    for (case, opening, unit, ends) in [
        (
            "SETTINGS",
            vec![],
            Box::new(of(Frame::new(frames::SETTINGS, 0, 0, []))) as Box<dyn Fn(usize) -> Frame>,
            false,
        ),
        (
            "PING",
            vec![],
            Box::new(of(Frame::new(frames::PING, 0, 0, [9; 8]))),
            false,
        ),
        (
            "PRIORITY of streams that are idle",
            vec![],
            Box::new(|at| {
                let stream = 2 * u32::try_from(at).expect("a small number") + 1;
                Frame::new(2, 0, stream, [0, 0, 0, 0, 1])
            }),
            false,
        ),
        (
            "a window that grows by one",
            vec![],
            Box::new(of(wider(0))),
            false,
        ),
        (
            "a stream's window that grows by one",
            vec![frames::get(&world.token(NONE), 1, "/sse?ms=600000", &[])],
            Box::new(of(wider(1))),
            false,
        ),
        (
            "frames of an unknown type",
            vec![],
            Box::new(of(Frame::new(0xfe, 0, 0, *b"hello"))),
            false,
        ),
        (
            "empty DATA",
            vec![head("POST", "/mirror", 1)],
            Box::new(of(Frame::new(frames::DATA, 0, 1, []))),
            true,
        ),
        (
            OPEN,
            vec![Frame::new(
                frames::HEADERS,
                frames::END_STREAM,
                1,
                frames::block(&[(":method", "GET")]),
            )],
            Box::new(of(Frame::new(frames::CONTINUATION, 0, 1, []))),
            true,
        ),
    ] {
        let mut client = Frames::open(world.addr()).await;
        client.send(&opening).await.expect("an open connection");
        let ended = flood(&mut client, (0..FRAMES).map(unit), case == OPEN).await;
        report.holds(format!("{case}: ended {ended}"), ended || !ends);
        report.equal(
            format!("beside {case}"),
            world_get(world.addr(), &world).await,
            200,
        );
    }

    // A field that is told once and named a thousand times: four megabytes in one kilobyte (RFC 7541 §6.1, RFC 9113 §10.5.1).
    let mut bomb = frames::request("GET", &world.token(NONE), NONE, "/", &[]);
    let field = frames::block(&[("x-bomb", &"x".repeat(4000))]);
    bomb.push(0x40);
    bomb.extend_from_slice(&field[1..]);
    bomb.extend([0x80 | 62; 1000]);
    let dispatched = world.dispatched();
    for _ in 0..20 {
        let mut client = Frames::open(world.addr()).await;
        let request = Frame::new(
            frames::HEADERS,
            frames::END_STREAM | frames::END_HEADERS,
            1,
            bomb.clone(),
        );
        client.send(&[request]).await.expect("an open connection");
        let answer = client
            .find(|frame| frame.stream == 1 || frame.kind == frames::GOAWAY)
            .await;
        let refused = answer.as_ref().is_none_or(|frame| {
            frame.kind != frames::HEADERS || frame.payload.starts_with(&frames::STATUS_431)
        });
        report.holds(format!("a header bomb: {answer:?}"), refused);
    }
    report.equal("a header bomb: dispatched", world.dispatched(), dispatched);

    report.equal("afterwards", world_get(world.addr(), &world).await, 200);
    let grown = crate::crossing::peak(pid).saturating_sub(before);
    report.holds(format!("{grown} bytes more at most"), grown <= MOST_BYTES);
    report.finish();
}
