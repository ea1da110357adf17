use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

/// How a body came out: its data, and its end.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    data: Vec<u8>,
    end: End,
}

#[derive(Debug, PartialEq, Eq)]
enum End {
    Whole(Option<HeaderMap>),
    Malformed,
    Missing,
}

fn decode<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Seen {
    let (mut chunks, mut data) = (Chunked::default(), Vec::new());
    for part in parts {
        let mut bytes = Bytes::copy_from_slice(part);
        loop {
            let end = match chunks.next(&mut bytes) {
                Ok(Some(Piece::Data(piece))) => {
                    assert!(!piece.is_empty());
                    data.extend_from_slice(&piece);
                    continue;
                }
                Ok(None) => break,
                Ok(Some(Piece::End(trailers))) => End::Whole(trailers),
                Err(_) => End::Malformed,
            };
            return Seen { data, end };
        }
        assert!(bytes.is_empty(), "nothing is left over");
    }
    let end = End::Missing;
    Seen { data, end }
}

/// What the HTTP library makes of the same body.
async fn library(body: &[u8]) -> (Vec<u8>, Option<Option<HeaderMap>>) {
    let (client, mut server) = tokio::io::duplex(64 * 1024);
    let (mut sender, driver) = http1::handshake(TokioIo::new(client)).await.unwrap();
    let serving = async move {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            server.read_buf(&mut request).await.unwrap();
        }
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        // It may have hung up on a malformed body.
        let _ = server.write_all(&[head, body].concat()).await;
    };
    let reading = async move {
        let request = http::Request::new(Empty::<Bytes>::new());
        let mut incoming = sender.send_request(request).await.unwrap().into_body();
        let (mut data, mut trailers) = (Vec::new(), None);
        loop {
            match incoming.frame().await {
                None => return (data, Some(trailers)),
                Some(Err(_)) => return (data, None),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(piece) => data.extend_from_slice(&piece),
                    Err(frame) => trailers = frame.into_trailers().ok(),
                },
            }
        }
    };
    let (seen, ..) = tokio::join!(reading, driver, serving);
    seen
}

fn trailers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    fields
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .collect()
}

#[test]
fn chunked_body_ends_with_its_last_chunk_and_nothing_else() {
    let whole = || End::Whole(None);
    let with = |fields| End::Whole(Some(trailers(fields)));
    for (body, data, end) in [
        ("5\r\nhello\r\n0\r\n\r\n", "hello", whole()),
        ("5\r\nhello\r\n0\r\n\r\nGET", "hello", whole()),
        (
            "1\r\na\r\n00B;x=\"y\"\r\nhello world\r\n0;z\r\n\r\n",
            "ahello world",
            whole(),
        ),
        ("1 \t ;x\r\na\r\n0\t\r\n\r\n", "a", whole()),
        ("0000000000000000000000001\r\na\r\n0\r\n\r\n", "a", whole()),
        ("0\r\n\r\n", "", whole()),
        ("0\r\na: 1\r\nB:2 \r\n\r\n", "", with(&[("a", "1"), ("b", "2")])),
        ("1\r\na\r\n0\r\nx:\r\n\r\n", "a", with(&[("x", "")])),
        ("", "", End::Missing),
        ("5", "", End::Missing),
        ("5\r\nhel", "hel", End::Missing),
        ("5\r\nhello\r\n", "hello", End::Missing),
        ("5\r\nhello\r\n0\r\n", "hello", End::Missing),
        ("5\r\nhello\r\n0\r\na: 1\r\n", "hello", End::Missing),
        // A line that is no size, or a size that is no line.
        ("\r\n0\r\n\r\n", "", End::Malformed),
        (" 1\r\na\r\n", "", End::Malformed),
        (";x\r\n", "", End::Malformed),
        ("-1\r\n", "", End::Malformed),
        ("+1\r\n", "", End::Malformed),
        ("0x1\r\n", "", End::Malformed),
        ("1g\r\n", "", End::Malformed),
        ("1 1\r\n", "", End::Malformed),
        ("1\na\r\n", "", End::Malformed),
        ("1\r\r\n", "", End::Malformed),
        ("1;x\n\r\na", "", End::Malformed),
        ("1;x\rb\r\na", "", End::Malformed),
        ("10000000000000000\r\n", "", End::Malformed),
        ("FFFFFFFFFFFFFFFF\r\na", "a", End::Missing),
        // More or less data than its size.
        ("1\r\nab\r\n", "a", End::Malformed),
        ("2\r\na\r\n0\r\n\r\n", "a\r", End::Malformed),
        ("1\r\na\n0\r\n\r\n", "a", End::Malformed),
        ("1\r\na\r0\r\n\r\n", "a", End::Malformed),
        // Trailers that are none.
        ("0\r\n\n", "", End::Malformed),
        ("0\r\n\rx", "", End::Malformed),
        ("0\r\na: 1\nb: 2\r\n\r\n", "", End::Malformed),
        ("0\r\na: 1\r\r\n\r\n", "", End::Malformed),
        ("0\r\na\r\n\r\n", "", End::Malformed),
        ("0\r\na : 1\r\n\r\n", "", End::Malformed),
        ("0\r\na: 1\r\n b\r\n\r\n", "", End::Malformed),
        ("0\r\na: \0\r\n\r\n", "", End::Malformed),
    ] {
        let expect = Seen {
            data: data.into(),
            end,
        };
        assert_eq!(decode([body.as_bytes()]), expect, "{body:?}");
        assert_eq!(decode(body.as_bytes().chunks(1)), expect, "{body:?} byte by byte");
    }
}

#[test]
fn chunked_body_is_bounded_in_what_is_not_data() {
    let extension = |length: usize| format!("0;{}\r\n\r\n", "x".repeat(length));
    let halves = |length: usize| format!("1;{0}\r\na\r\n0;{0}\r\n\r\n", "x".repeat(length));
    let lines = |count: usize| format!("0\r\n{}\r\n", "a: 1\r\n".repeat(count));
    // The limit counts the line ends, of the empty line too.
    let line = |length: usize| format!("0\r\na:{}\r\n\r\n", "x".repeat(length - "a:\r\n\r\n".len()));
    for (body, is_whole) in [
        (extension(MAX_EXTENSION_BYTES - 1), true),
        (extension(MAX_EXTENSION_BYTES), false),
        (halves(MAX_EXTENSION_BYTES / 2 - 1), true),
        (halves(MAX_EXTENSION_BYTES / 2), false),
        (lines(MAX_TRAILERS), true),
        (lines(MAX_TRAILERS + 1), false),
        (line(MAX_TRAILER_BYTES - 1), true),
        (line(MAX_TRAILER_BYTES), false),
    ] {
        let seen = decode(body.as_bytes().chunks(1000));
        assert_eq!(
            matches!(seen.end, End::Whole(_)),
            is_whole,
            "{} bytes",
            body.len()
        );
        assert_eq!(seen.end == End::Malformed, !is_whole);
    }
}

/// Something that stands in a chunked body, or nearly.
fn part() -> impl Strategy<Value = String> {
    let size = ("0{0,3}", "[ \t]{0,2}(;[a-z=\"\r]{0,3})?");
    prop_oneof![
        6 => ("[a-z\r\n]{1,40}", size, any::<bool>()).prop_map(|(data, (zeros, rest), upper)| {
            let length = data.len();
            let digits = if upper { format!("{length:X}") } else { format!("{length:x}") };
            format!("{zeros}{digits}{rest}\r\n{data}\r\n")
        }),
        2 => "0{1,2}[ \t]{0,1}(;[a-z]{0,3})?\r\n",
        2 => "[A-Za-z-]{1,4}:[ a-z]{0,5}\r\n",
        2 => Just("\r\n".to_owned()),
        1 => "[0-9a-fA-F;: \t\r\nx]{1,4}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn chunked_body_is_what_the_http_library_makes_of_it(
        parts in prop::collection::vec(part(), 0..8),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        removed in prop::option::weighted(0.2, any::<prop::sample::Index>()),
    ) {
        let mut body = parts.concat().into_bytes();
        if let Some(at) = removed.filter(|_| !body.is_empty()) {
            body.remove(at.index(body.len()));
        }
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(body.len() + 1)).collect();
        ends.push(body.len());
        ends.sort_unstable();
        let begins = std::iter::once(0).chain(ends.iter().copied());
        let split = decode(begins.zip(&ends).map(|(begin, &end)| &body[begin..end]));
        let seen = decode([&body[..]]);
        prop_assert_eq!(&split, &seen);

        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (data, whole) = runtime.block_on(library(&body));
        prop_assert_eq!(&seen.data, &data);
        match (seen.end, whole) {
            (End::Whole(ours), Some(theirs)) => prop_assert_eq!(ours, theirs),
            (End::Malformed | End::Missing, None) => {}
            // The library takes a line feed alone for the end of a trailer.
            (End::Malformed, Some(_)) => {
                let alone = body.iter().enumerate().any(|(at, &byte)| byte == b'\n' && (at == 0 || body[at - 1] != b'\r'));
                prop_assert!(alone);
            }
            (ours, theirs) => prop_assert!(false, "{ours:?} is {theirs:?} to the library"),
        }
    }
}
