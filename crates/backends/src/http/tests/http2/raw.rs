//! A server that says what no library would.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use h2::Reason;
use http_body_util::{BodyExt as _, Empty};

use super::super::super::SendFailure;
use super::super::server::Server;
use super::{Fixture, request};
use admission::Scheme;

const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
/// `:status: 200`, and an index that no table has.
const OK: [u8; 1] = [0x88];
const NONSENSE: [u8; 1] = [0x80];
const END_OF_HEAD: u8 = 4;
const END: u8 = 1 | END_OF_HEAD;

fn say(stream: &mut TcpStream, kind: u8, flags: u8, id: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(id.to_be_bytes());
    frame.extend(payload);
    let _ = stream.write_all(&frame);
}

/// The stream of the next request.
fn next(stream: &mut TcpStream) -> Option<u32> {
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        stream.read_exact(&mut payload).ok()?;
        match head[3] {
            HEADERS => return Some(u32::from_be_bytes([head[5], head[6], head[7], head[8]])),
            SETTINGS if head[4] == 0 => say(stream, SETTINGS, 1, 0, &[]),
            _ => {}
        }
    }
}

fn greet(stream: &mut TcpStream) {
    let mut preface = [0; 24];
    let _ = stream.read_exact(&mut preface);
    say(stream, SETTINGS, 0, 0, &[]);
}

async fn send(fixture: &Fixture, server: &Server, method: &str) -> Result<u16, SendFailure> {
    let request = request(method, Empty::new().boxed_unsync());
    let sent = fixture.send(Scheme::Http, &[server.addr], request, &()).await;
    sent.map(|answer| answer.status().as_u16())
}

#[tokio::test]
async fn http2_answer_that_breaks_the_connection_is_invalid_only_where_it_was_alone() {
    let server = Server::start(|number, stream, _| {
        greet(stream);
        let first = next(stream).unwrap();
        if number == 0 {
            say(stream, HEADERS, END, first, &OK);
            next(stream).unwrap();
        }
        // The second of two on the first connection, and the only one of each other connection but the third.
        let last = if number == 0 { next(stream).unwrap() } else { first };
        let answer = if number == 2 { OK } else { NONSENSE };
        say(stream, HEADERS, END, last, &answer);
        super::super::server::until_closed(stream);
    });
    let fixture = Fixture::default();
    assert_eq!(send(&fixture, &server, "GET").await.unwrap(), 200);
    let (one, other) = tokio::join!(send(&fixture, &server, "POST"), send(&fixture, &server, "POST"));
    for failed in [one.err().unwrap(), other.err().unwrap()] {
        assert!(matches!(failed, SendFailure::MaybeSent(_)), "{failed:?}");
    }
    // From now on no two share a connection.
    let (one, other) = tokio::join!(send(&fixture, &server, "POST"), send(&fixture, &server, "POST"));
    let (valid, invalid) = match one {
        Ok(status) => (status, other.err().unwrap()),
        Err(failed) => (other.unwrap(), failed),
    };
    assert!(
        valid == 200 && matches!(invalid, SendFailure::Invalid(_)),
        "{invalid:?}"
    );
    assert_eq!(fixture.client.stats().dialled, 3);
}

#[tokio::test]
async fn http2_words_of_a_peer_are_not_repeated() {
    let server = Server::start(|_, stream, _| {
        greet(stream);
        next(stream).unwrap();
        // It is behind the last stream that counts, so that it is told the goodbye itself.
        let mut goodbye = 0_u32.to_be_bytes().to_vec();
        goodbye.extend(u32::from(Reason::INTERNAL_ERROR).to_be_bytes());
        goodbye.extend(b"token=secret");
        say(stream, GOAWAY, 0, 0, &goodbye);
    });
    let failed = send(&Fixture::default(), &server, "POST").await.err().unwrap();
    let words = failed.cause().to_string();
    assert!(
        words.contains("connection error received") && !words.contains("secret"),
        "{words}"
    );
}

#[tokio::test]
async fn http2_connection_whose_end_only_the_kernel_knows_gets_no_request() {
    for goodbye in [true, false] {
        let (say, told) = std::sync::mpsc::channel::<()>();
        let told = std::sync::Mutex::new(told);
        let server = Server::start(move |number, stream, seen| {
            // Or the goodbye would wait for the acknowledgement of what was sent before.
            stream.set_nodelay(true).unwrap();
            greet(stream);
            let first = next(stream).unwrap();
            self::say(stream, HEADERS, END, first, &OK);
            if number == 0 {
                told.lock().unwrap().recv().unwrap();
                if goodbye {
                    let mut last = first.to_be_bytes().to_vec();
                    last.extend(u32::from(Reason::NO_ERROR).to_be_bytes());
                    self::say(stream, GOAWAY, 0, 0, &last);
                } else {
                    stream.shutdown(std::net::Shutdown::Both).unwrap();
                }
                let _ = seen.send(super::super::server::Seen::Closed(number));
            }
            super::super::server::until_closed(stream);
        });
        let fixture = Fixture::default();
        assert_eq!(send(&fixture, &server, "GET").await.unwrap(), 200);
        // The runtime gets no turn between the end and the next request.
        say.send(()).unwrap();
        assert_eq!(server.next(), super::super::server::Seen::Closed(0));
        assert_eq!(
            send(&fixture, &server, "POST").await.unwrap(),
            200,
            "GOAWAY: {goodbye}"
        );
        let stats = fixture.client.stats();
        assert_eq!((stats.dialled, stats.found_dead), (2, 1));
    }
}
