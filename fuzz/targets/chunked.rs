//! The chunked coding of an upstream's answer: however it is cut, the same data and the same end, and never an end
//! without the last chunk.
#![no_main]

use backends::http::{Chunked, Piece};
use bytes::Bytes;
use http::HeaderMap;
use libfuzzer_sys::fuzz_target;

/// Data, and the trailers of a body that is whole; `None` for one that is malformed or goes on.
type Decoded = (Vec<u8>, Option<Option<HeaderMap>>);

fuzz_target!(|input: (&[u8], u8)| {
    let (body, cut) = input;
    let whole = decode(body.chunks(body.len().max(1)));
    assert_eq!(whole, decode(body.chunks(usize::from(cut).max(1))));
    if whole.1.is_some() {
        assert!(body.windows(2).any(|line| line == b"\r\n") && body.contains(&b'0'));
    }
});

fn decode<'a>(parts: impl Iterator<Item = &'a [u8]>) -> Decoded {
    let (mut chunks, mut data) = (Chunked::default(), Vec::new());
    for part in parts {
        let mut bytes = Bytes::copy_from_slice(part);
        loop {
            match chunks.next(&mut bytes) {
                Ok(Some(Piece::Data(piece))) => data.extend_from_slice(&piece),
                Ok(Some(Piece::End(trailers))) => return (data, Some(trailers)),
                Ok(None) => break,
                Err(_) => return (data, None),
            }
        }
    }
    (data, None)
}
