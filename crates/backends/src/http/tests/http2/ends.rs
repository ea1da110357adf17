//! Connections and streams that end before an answer is whole, and what is sent once more.

use std::time::Duration;

use admission::Scheme;
use http::Response as HttpResponse;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Body as _;
use tokio::sync::mpsc::unbounded_channel;

use super::super::super::{Pings, PoolLimits, SendFailure};
use super::super::door::Door;
use super::server::{Call, Goodbye, Http2Server};
use super::{Fixture, fed, request, serve};

async fn warm(server: &mut Http2Server, fixture: &Fixture) {
    let address = server.addr;
    tokio::join!(async { fixture.get(address).await.unwrap() }, serve(server, 1));
}

#[tokio::test]
async fn http2_request_without_an_answer_is_sent_once_more_only_where_that_is_safe() {
    type Trouble = fn(&Http2Server, &mut Call);
    let abrupt: Trouble = |server, _| server.say(Goodbye::Abrupt);
    let refused: Trouble = |_, call| call.respond.send_reset(h2::Reason::REFUSED_STREAM);
    let failed: Trouble = |_, call| call.respond.send_reset(h2::Reason::INTERNAL_ERROR);
    let interim: Trouble = |server, call| {
        let hints = HttpResponse::builder().status(103).body(()).unwrap();
        call.respond.send_informational(hints).unwrap();
        server.say(Goodbye::Abrupt);
    };
    for (case, method, has_body, is_used, trouble, is_repeated) in [
        ("abrupt", "GET", false, true, abrupt, true),
        ("abrupt", "HEAD", false, true, abrupt, true),
        ("refused", "GET", false, true, refused, true),
        ("refused", "POST", false, true, refused, false),
        ("refused", "POST", true, true, refused, false),
        ("refused, fresh", "GET", false, false, refused, false),
        ("failed", "GET", false, true, failed, false),
        ("abrupt", "POST", false, true, abrupt, false),
        ("abrupt", "POST", true, true, abrupt, false),
        ("abrupt, fresh", "GET", false, false, abrupt, false),
        ("interim", "GET", false, true, interim, false),
    ] {
        let case = format!("{case}: {method}, body {has_body}");
        let (mut server, fixture) = (Http2Server::start(|_| {}).await, Fixture::default());
        if is_used {
            warm(&mut server, &fixture).await;
        }
        let (_feed, body) = match has_body {
            true => fed(),
            false => (unbounded_channel().0, Empty::new().boxed_unsync()),
        };
        let (door, addresses) = (Door::letting_out(2), [server.addr]);
        let sent = fixture.send(Scheme::Http, &addresses, request(method, body), &door);
        let play = async {
            let mut call = server.next().await;
            trouble(&server, &mut call);
            if is_repeated {
                let again = server.next().await;
                assert_eq!(again.connection, call.connection + 1, "{case}");
                assert_eq!(again.request.method(), method, "{case}");
                again.answer();
            }
        };
        let (answer, ()) = tokio::join!(sent, play);
        match answer {
            Ok(answer) => assert_eq!((answer.status().as_u16(), is_repeated), (200, true), "{case}"),
            Err(failed) => {
                let is_expected = matches!(failed, SendFailure::MaybeSent(_)) && !is_repeated;
                assert!(is_expected, "{case}: {failed:?}");
            }
        }
        assert_eq!(door.marked(), 1 + usize::from(is_repeated), "{case}");
    }
}

#[tokio::test]
async fn http2_goodbye_lets_streams_end_and_the_next_request_goes_elsewhere() {
    let (mut server, fixture) = (Http2Server::start(|_| {}).await, Fixture::default());
    warm(&mut server, &fixture).await;
    let (response, mut answer) =
        tokio::join!(fixture.get(server.addr), async { server.next().await.begin() });
    let mut body = response.unwrap().into_body();
    server.say(Goodbye::Graceful);
    let address = server.addr;
    // Until the goodbye is heard requests go over the old connection, and are answered there.
    testkit::wait::until("another connection", async || {
        let (answer, call) = tokio::join!(fixture.get(address), async {
            let call = server.next().await;
            let connection = call.connection;
            call.answer();
            connection
        });
        assert_eq!(answer.unwrap().status(), 200);
        (call == 1).then_some(())
    })
    .await;
    answer.send_data("to the end".into(), true).unwrap();
    assert_eq!(
        body.frame().await.unwrap().unwrap().into_data().unwrap(),
        "to the end"
    );
    assert!(body.frame().await.is_none());
}

#[tokio::test]
async fn http2_body_that_is_reset_is_no_whole_body() {
    let (mut server, fixture) = (Http2Server::start(|_| {}).await, Fixture::default());
    for reason in [
        h2::Reason::NO_ERROR,
        h2::Reason::CANCEL,
        h2::Reason::INTERNAL_ERROR,
    ] {
        let (response, mut answer) =
            tokio::join!(fixture.get(server.addr), async { server.next().await.begin() });
        let mut body = response.unwrap().into_body();
        answer.send_data("half".into(), false).unwrap();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "half");
        answer.send_reset(reason);
        assert!(body.frame().await.unwrap().is_err(), "{reason:?}");
        assert!(body.frame().await.is_none());
    }
    assert_eq!(fixture.client.stats().dialled, 1);
}

#[tokio::test]
async fn http2_answer_before_the_body_is_whole_ends_the_body() {
    let (mut server, fixture) = (Http2Server::start(|_| {}).await, Fixture::default());
    let (feed, body) = fed();
    let addresses = [server.addr];
    let sent = fixture.send(Scheme::Http, &addresses, request("POST", body), &());
    let (answer, mut call) = tokio::join!(sent, async {
        let mut call = server.next().await;
        call.respond.send_response(HttpResponse::new(()), true).unwrap();
        call
    });
    assert!(answer.unwrap().body().is_end_stream());
    assert!(matches!(call.piece().await, Some(Err(_))), "cut, and not whole");
    feed.closed().await;
}

#[tokio::test]
async fn http2_answer_that_cannot_be_used_is_invalid() {
    let (mut server, fixture) = (Http2Server::start(|_| {}).await, Fixture::default());
    let with = |count: usize, length: usize| {
        let mut answer = HttpResponse::new(());
        for number in 0..count {
            let name: http::HeaderName = format!("x-{number}").parse().unwrap();
            answer
                .headers_mut()
                .insert(name, "a".repeat(length).parse().unwrap());
        }
        answer
    };
    for (answer, is_valid) in [
        (with(256, 200), true),
        (with(3, 20_000), true),
        (with(257, 1), false),
        (with(5, 20_000), false),
        (
            HttpResponse::builder()
                .header("content-length", "x")
                .body(())
                .unwrap(),
            false,
        ),
    ] {
        let case = format!("{} fields", answer.headers().len());
        let (response, ()) = tokio::join!(fixture.get(server.addr), async {
            let mut call = server.next().await;
            call.respond
                .send_response(answer, false)
                .unwrap()
                .send_data("x".into(), true)
                .unwrap();
        });
        match response {
            Ok(_) => assert!(is_valid, "{case}"),
            Err(failed) => assert!(
                !is_valid && matches!(failed, SendFailure::Invalid(_)),
                "{case}: {failed:?}"
            ),
        }
    }
    assert_eq!(
        fixture.client.stats().dialled,
        1,
        "a stream's fault is not the connection's"
    );
}

#[tokio::test]
async fn http2_request_whose_departure_cannot_be_marked_does_not_leave() {
    let (mut server, fixture) = (Http2Server::start(|_| {}).await, Fixture::default());
    warm(&mut server, &fixture).await;
    let (door, addresses) = (Door::letting_out(0), [server.addr]);
    let get = request("GET", Empty::new().boxed_unsync());
    let barred = fixture.send(Scheme::Http, &addresses, get, &door).await;
    let barred = barred.err().unwrap();
    assert!(matches!(barred, SendFailure::Barred(_)), "{barred:?}");
    let (_, call) = tokio::join!(fixture.get(server.addr), async {
        let call = server.next().await;
        let connection = call.connection;
        call.answer();
        connection
    });
    assert_eq!((call, fixture.client.stats().dialled), (0, 1));
}

#[tokio::test]
async fn http2_peer_that_gives_no_sign_of_life_is_left_and_nothing_is_sent_again() {
    let pings = Pings {
        silence: Duration::from_millis(50),
        patience: Duration::from_millis(300),
        rest: 0,
    };
    let (mut server, fixture) = (
        Http2Server::start(|_| {}).await,
        Fixture::new(PoolLimits::default(), pings),
    );
    warm(&mut server, &fixture).await;
    let (door, addresses) = (Door::letting_out(2), [server.addr]);
    let get = request("GET", Empty::new().boxed_unsync());
    server.say(Goodbye::Silent);
    let failed = fixture.send(Scheme::Http, &addresses, get, &door).await;
    let failed = failed.err().unwrap();
    assert!(matches!(failed, SendFailure::MaybeSent(_)), "{failed:?}");
    fixture.client.sweep();
    assert_eq!((door.marked(), fixture.client.stats().idle), (1, 0));
}
