//! A server that answers before it has the whole request, and hangs up.

use std::convert::Infallible;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc::channel;
use std::task::Poll;
use std::thread;
use std::time::Duration;

use admission::Scheme;
use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use socket2::SockRef;

use super::super::PoolLimits;
use super::super::connections::Target;
use super::server::{OK, request};
use super::{client_with, get, origin, plain};

#[tokio::test]
async fn early_answer_is_read_although_the_rest_of_the_request_cannot_be_written() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let ((ask, asked), (hang_up, hung_up)) = (channel(), channel());
    thread::spawn(move || {
        let (mut tcp, _) = listener.accept().unwrap();
        assert!(request(&mut tcp));
        tcp.read_exact(&mut [0; "5\r\nfirst\r\n".len()]).unwrap();
        asked.recv().unwrap();
        tcp.write_all(OK.as_bytes()).unwrap();
        SockRef::from(&tcp).set_linger(Some(Duration::ZERO)).unwrap();
        drop(tcp);
        hang_up.send(()).unwrap();
    });
    let mut polls = 0;
    let body = StreamBody::new(stream::poll_fn(move |cx| {
        polls += 1;
        let piece = |text: &'static str| Some(Ok::<_, Infallible>(Frame::data(Bytes::from(text))));
        match polls {
            1 => Poll::Ready(piece("first")),
            // So that it is written.
            2 => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            // The connection has looked for an answer, and does not before it writes this.
            3 => {
                ask.send(()).unwrap();
                hung_up.recv().unwrap();
                Poll::Ready(piece("more"))
            }
            _ => Poll::Pending,
        }
    }));
    let (client, _clock, _tracker) = client_with(PoolLimits::default(), &plain());
    let target = Target {
        origin: &origin(Scheme::Http, "a", 80),
        addresses: &[address],
    };
    let response = client.send_to(&target, get(body), &()).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "ok");
}
