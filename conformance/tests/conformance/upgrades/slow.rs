//! Callers and upstreams of switched connections that read late: whatever a side said before its end arrives.

use super::http2::{Client, data, websocket};
use super::*;
use tokio::net::{TcpSocket, TcpStream};

/// More than a stream's window, and less than sockets hold.
const LENGTH: usize = 400_000;
/// The least room for what is not read yet, so that most of it waits at the gateway.
const ROOM: u32 = 4096;

/// Switches a connection whose caller has hardly any room for what it does not read.
async fn open(world: &World, upstream: &mut HandUpstream) -> (Connection, Call) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(ROOM).expect("a socket");
    let stream = socket.connect(world.addr()).await.expect("a connection");
    let mut caller = Connection::over(Box::new(stream));
    let request = head_with(&world.token(HAND), "GET", HAND, "/chat", UPGRADE);
    caller.send(request).await.expect("an open connection");
    let mut call = upstream.call().await;
    call.head().await;
    call.send(switch(KEY, "")).await;
    caller.head().await;
    (caller, call)
}

/// What the caller of an HTTP/2 stream gets that begins to read when its upstream has ended.
async fn over_http2(world: &World, upstream: &mut HandUpstream) -> usize {
    let stream = TcpStream::connect(world.addr()).await.expect("a connection");
    let mut client = Client::over(stream).await;
    let (answer, mut send, mut call) = websocket(&mut client, world, upstream).await;
    let mut body = answer.into_body();
    send.send_data("".into(), true).expect("an open stream");
    caller_ended(&mut call).await;
    call.send(vec![b'd'; LENGTH]).await;
    drop(call);
    let mut seen = 0;
    while let Some(data) = data(&mut body).await {
        seen += data.len();
    }
    seen
}

/// Waits until the caller's end has arrived.
async fn caller_ended(call: &mut Call) {
    assert_eq!(call.until_end().await, b"", "the end alone");
}

#[tokio::test]
async fn upgrade_gives_a_slow_side_all_that_the_other_one_said_before_its_end() {
    let mut upstream = HandUpstream::start().await;
    let world = World::builder().hand(&upstream).start().await;
    let mut report = Report::default();
    for caller_ends in ["before", "behind"] {
        let (mut caller, mut call) = open(&world, &mut upstream).await;
        if caller_ends == "before" {
            caller.finish().await;
            caller_ended(&mut call).await;
        }
        call.send(vec![b'd'; LENGTH]).await;
        drop(call);
        let (seen, ending) = rest(&mut caller).await;
        report.equal(
            format!("down, {caller_ends}"),
            (seen.len(), ending),
            (LENGTH, Ending::Closed),
        );
    }
    for caller_closes in [false, true] {
        let (mut caller, mut call) = open(&world, &mut upstream).await;
        caller.send(vec![b'u'; LENGTH]).await.expect("an open connection");
        caller.finish().await;
        let caller = (!caller_closes).then_some(caller);
        let seen = call.until_end().await;
        report.equal(format!("up, closed: {caller_closes}"), seen.len(), LENGTH);
        drop(caller);
    }
    report.equal(
        "down over HTTP/2",
        over_http2(&world, &mut upstream).await,
        LENGTH,
    );
    report.finish();
}
