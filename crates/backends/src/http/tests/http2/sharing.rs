//! What one request does to the others on its connection.

use std::time::Duration;

use admission::Scheme;
use bytes::Bytes;
use futures_util::stream::{StreamExt as _, once, pending};
use http::Response;
use http_body_util::{BodyExt as _, Empty, StreamBody};
use hyper::body::Frame;
use tokio::sync::oneshot;

use super::super::super::connections::Target;
use super::super::super::{Pings, PoolLimits, SendFailure};
use super::super::door::Door;
use super::super::origin;
use super::super::server::Server;
use super::server::{Call, Goodbye, Http2Server};
use super::{Fixture, NAME, request};

/// Asks for something, and the number of the connection over which that goes.
async fn ask(server: &mut Http2Server, fixture: &Fixture) -> usize {
    let address = server.addr;
    let (answer, connection) = tokio::join!(fixture.get(address), async {
        let call = server.next().await;
        let connection = call.connection;
        call.answer();
        connection
    });
    assert_eq!(answer.unwrap().status(), 200);
    connection
}

#[tokio::test]
async fn http2_body_whose_bytes_are_all_there_waits_for_its_end_alone() {
    let (mut server, fixture) = (Http2Server::start(|_| {}).await, Fixture::default());
    let (answer, mut stream) = tokio::join!(fixture.get(server.addr), async {
        let mut call = server.next().await;
        let head = Response::builder().header("content-length", 3).body(()).unwrap();
        let mut stream = call.respond.send_response(head, false).unwrap();
        stream.send_data("all".into(), false).unwrap();
        stream
    });
    let mut body = answer.unwrap().into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "all");
    drop(body);
    assert_eq!(fixture.client.stats().idle, 0, "its stream is not reset");
    stream.send_data(Bytes::new(), true).unwrap();
    testkit::wait::until("the end", async || {
        (fixture.client.stats().idle == 1).then_some(())
    })
    .await;
    assert_eq!(ask(&mut server, &fixture).await, 0);
}

#[tokio::test]
async fn http2_small_pieces_that_nobody_takes_end_no_connection() {
    let (mut server, fixture) = (Http2Server::start(|_| {}).await, Fixture::default());
    let (untaken, mut stream) = tokio::join!(fixture.get(server.addr), async { server.next().await.begin() });
    for _ in 0..20_000 {
        stream.send_data(Bytes::from_static(b"x"), false).unwrap();
    }
    stream.send_data(Bytes::new(), true).unwrap();
    assert_eq!(ask(&mut server, &fixture).await, 0);
    let body = untaken.unwrap().into_body().collect().await.unwrap();
    assert_eq!(body.to_bytes().len(), 20_000);
    assert_eq!(ask(&mut server, &fixture).await, 0);
}

#[tokio::test]
async fn http2_connection_that_cut_many_streams_is_left() {
    let (mut server, fixture) = (Http2Server::start(|_| {}).await, Fixture::default());
    for _ in 0..200 {
        let (answer, mut call) = tokio::join!(fixture.get(server.addr), async {
            let mut call = server.next().await;
            (call.connection, call.begin())
        });
        assert_eq!(call.0, 0);
        drop(answer);
        // It may be on its way when the reset comes.
        let _ = call.1.send_data("late".into(), true);
    }
    assert_eq!(ask(&mut server, &fixture).await, 1);
}

#[tokio::test]
async fn http2_connection_that_never_answered_is_left_after_a_request_without_an_answer() {
    let (mut server, fixture) = (Http2Server::start(|_| {}).await, Fixture::default());
    let address = server.addr;
    // The request began at zero, and the connection was made after that.
    fixture.clock.advance(Duration::from_secs(1));
    let mut waits = Box::pin(fixture.get(address));
    let _call: Call = tokio::select! {
        _ = &mut waits => panic!("nobody answered"),
        call = server.next() => call,
    };
    let origin = super::origin(Scheme::Http, super::NAME, 443);
    fixture.client.distrust(&origin, Duration::ZERO);
    assert_eq!(ask(&mut server, &fixture).await, 1);
}

#[tokio::test]
async fn http2_body_is_taken_though_its_window_is_shut() {
    let (mut server, fixture) = (
        Http2Server::start(|builder| {
            builder.initial_window_size(0);
        })
        .await,
        Fixture::default(),
    );
    let (taken, is_taken) = oneshot::channel();
    let piece = async move {
        let _ = taken.send(());
        Ok(Frame::data(Bytes::from_static(b"piece")))
    };
    let body = StreamBody::new(once(piece).chain(pending())).boxed_unsync();
    let addresses = [server.addr];
    let post = request("POST", body);
    let sent = fixture.send(Scheme::Http, &addresses, post, &());
    let (answer, ()) = tokio::join!(sent, async {
        let call = server.next().await;
        // It is the peer's turn now, and not the caller's.
        tokio::time::timeout(testkit::wait::PATIENCE, is_taken)
            .await
            .unwrap()
            .unwrap();
        call.answer();
    });
    assert_eq!(answer.unwrap().status(), 200);
}

#[tokio::test]
async fn http2_refusals_cost_one_connection_for_each_connection_that_refuses() {
    let (mut server, fixture) = (Http2Server::start(|_| {}).await, Fixture::default());
    assert_eq!(ask(&mut server, &fixture).await, 0);
    for is_repeated in [true, false] {
        let (door, addresses) = (Door::letting_out(2), [server.addr]);
        let get = request("GET", Empty::new().boxed_unsync());
        let sent = fixture.send(Scheme::Http, &addresses, get, &door);
        let (answer, ()) = tokio::join!(sent, async {
            let mut call = server.next().await;
            assert_eq!(call.connection, 0);
            call.respond.send_reset(h2::Reason::REFUSED_STREAM);
            if is_repeated {
                server.next().await.answer();
            }
        });
        match answer {
            Ok(answer) => assert_eq!((answer.status().as_u16(), is_repeated), (200, true)),
            Err(failed) => {
                assert!(
                    !is_repeated && matches!(failed, SendFailure::MaybeSent(_)),
                    "{failed:?}"
                );
            }
        }
    }
    assert_eq!(fixture.client.stats().dialled, 2);
}

#[tokio::test]
async fn http2_connections_have_room_for_a_quarter_of_the_bound_whatever_others_take() {
    let (others, mut server) = (Server::echo(), Http2Server::start(|_| {}).await);
    let limits = PoolLimits {
        total: 4,
        ..PoolLimits::default()
    };
    let fixture = Fixture::new(limits, Pings::default());
    for port in 1..=4 {
        let origin = origin(Scheme::Http, "a", port);
        let target = Target {
            origin: &origin,
            addresses: &[others.addr],
        };
        let get = request("GET", Empty::new().boxed_unsync());
        let answer = fixture.client.send_to(&target, get, &()).await.unwrap();
        answer.into_body().collect().await.unwrap();
    }
    let others_are_idle = async || (fixture.client.stats().idle == 4).then_some(());
    testkit::wait::until("the others", others_are_idle).await;
    for _ in 0..2 {
        assert_eq!(ask(&mut server, &fixture).await, 0);
        fixture.client.sweep();
        assert_eq!(fixture.client.stats().idle, 5);
    }
}

#[tokio::test]
async fn http2_connection_that_was_made_ahead_and_waited_counts_as_used() {
    let (mut server, fixture) = (Http2Server::start(|_| {}).await, Fixture::default());
    let (origin, addresses) = (origin(Scheme::Http, NAME, 443), [server.addr]);
    let _ahead = fixture.client.preconnect_to(&Target {
        origin: &origin,
        addresses: &addresses,
    });
    let made = async || (fixture.client.stats().dialled == 1).then_some(());
    testkit::wait::until("the connection", made).await;
    let door = Door::letting_out(2);
    let get = request("GET", Empty::new().boxed_unsync());
    let sent = fixture.send(Scheme::Http, &addresses, get, &door);
    let play = async {
        let call = server.next().await;
        server.say(Goodbye::Abrupt);
        let again = server.next().await;
        assert_eq!((call.connection, again.connection), (0, 1));
        again.answer();
    };
    let (answer, ()) = tokio::join!(sent, play);
    assert_eq!((answer.unwrap().status().as_u16(), door.marked()), (200, 2));
}
