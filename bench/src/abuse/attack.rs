//! What an abuser does on one connection: bytes in the beginning, then the same kind of bytes again and again.

use crate::failure::Result;
use crate::requests::Requests;
use crate::servers::Servers;

/// Frame types and flags (RFC 9113 §6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// How an HTTP/2 connection begins.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// More than a head may hold is what a repeated field of this length makes of a few bytes.
const BOMB_FIELD: usize = 4000;
const BOMB_REPEATS: usize = 1000;
/// Bytes of slow heads in one run.
const SLOW_BYTES: u64 = 10_000;
/// Streams that are reset in one run.
const RESETS: u64 = 100_000;

/// What one connection may cost the gateway, in KiB: a head over HTTP/1.1, over HTTP/2 the window of the connection and what
/// waits for it, a TLS handshake.
const HTTP1_KIB: u64 = 24;
const HTTP2_KIB: u64 = 2048;
const TLS_KIB: u64 = 64;
/// What an answer may cost that its caller does not take: what the library and the upstream's side hold of it.
const STREAM_KIB: u64 = 192;

/// One kind of abuse.
pub(crate) struct Attack {
    /// What it is called.
    pub(crate) name: &'static str,
    /// Connections at a time.
    pub(crate) connections: usize,
    /// Units in a second, over all connections.
    pub(crate) rate: u32,
    /// So many are sent beside the load, which goes on for as long as that takes: what an abuser that got no time to send
    /// proves is nothing. Usually those of one second.
    pub(crate) at_least: u64,
    /// Whether it happens under TLS, and how far.
    pub(crate) tls: Tls,
    /// Whether the abuser ends a connection after one unit.
    pub(crate) once: bool,
    /// Most memory that a connection of it may cost the gateway, in KiB.
    pub(crate) kib: u64,
    opening: Vec<u8>,
    unit: Unit,
}

/// How an attack uses TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tls {
    /// Not at all.
    No,
    /// It greets and leaves.
    Abandoned,
    /// It completes handshakes.
    Complete,
}

impl Attack {
    /// What it sends first.
    pub(crate) fn opening(&self) -> &[u8] {
        &self.opening
    }

    /// What it sends as the unit with this number on a connection.
    pub(crate) fn unit(&self, number: u32) -> Vec<u8> {
        (self.unit)(number)
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    let mut bytes = length.get(1..).unwrap_or_default().to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// Literal fields without indexing (RFC 7541 §6.2.2).
fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        bytes.push(0);
        text(&mut bytes, name);
        text(&mut bytes, value);
    }
    bytes
}

/// A string without Huffman coding (RFC 7541 §5.2).
fn text(bytes: &mut Vec<u8>, text: &str) {
    match u8::try_from(text.len()) {
        Ok(length @ ..127) => bytes.push(length),
        _ => {
            bytes.push(127);
            let mut rest = text.len() - 127;
            while rest >= 128 {
                bytes.push(rest.to_le_bytes()[0] | 128);
                rest /= 128;
            }
            bytes.push(rest.to_le_bytes()[0]);
        }
    }
    bytes.extend_from_slice(text.as_bytes());
}

fn request(method: &str, path: &str, mandate: &str) -> Vec<u8> {
    let bearer = format!("Bearer {mandate}");
    block(&[
        (":method", method),
        (":scheme", "http"),
        (":authority", "bench.example"),
        (":path", path),
        ("authorization", &bearer),
        ("x-caracal-resource", "resource://mandate"),
    ])
}

/// The number-th stream of a client.
fn stream(number: u32) -> u32 {
    2 * number + 1
}

fn get(at: u32, path: &str, mandate: &str) -> Vec<u8> {
    frame(
        HEADERS,
        END_STREAM | END_HEADERS,
        at,
        &request("GET", path, mandate),
    )
}

/// A block that is small and says much: one field is put into the table, then named again and again.
fn bomb() -> Vec<u8> {
    let mut bytes = request("GET", "/", "nobody");
    // A literal with incremental indexing is then the first of the dynamic table, 62 (RFC 7541 §2.3.3, §6.2.1).
    bytes.push(0x40);
    text(&mut bytes, "x-bomb");
    text(&mut bytes, &"x".repeat(BOMB_FIELD));
    bytes.extend(std::iter::repeat_n(0x80 | 62, BOMB_REPEATS));
    bytes
}

/// All of them.
pub(crate) fn attacks(servers: &Servers) -> Result<Vec<Attack>> {
    let mandates = Requests::reusable(servers.stack(), 1)?;
    let mandate = mandates.mandates().next().ok_or("no mandate")?;
    let mut attacks = of_http1();
    attacks.extend(of_frames(mandate));
    attacks.extend(of_windows(mandate));
    attacks.extend(of_tls());
    Ok(attacks)
}

type Unit = Box<dyn Fn(u32) -> Vec<u8> + Send>;

/// An attack over HTTP/2 with these first bytes behind the preface.
fn over_http2(name: &'static str, rate: u32, settings: &[u8], first: &[Vec<u8>], unit: Unit) -> Attack {
    let opening = [PREFACE, &frame(SETTINGS, 0, 0, settings), &first.concat()].concat();
    Attack {
        name,
        connections: 8,
        rate,
        at_least: rate.into(),
        tls: Tls::No,
        once: false,
        kib: HTTP2_KIB,
        opening,
        unit,
    }
}

fn of_http1() -> Vec<Attack> {
    let large = format!(
        "GET / HTTP/1.1\r\nHost: bench.example\r\nX-Large: {}\r\n\r\n",
        "x".repeat(15 * 1024)
    );
    let health = b"GET /health HTTP/1.1\r\nHost: bench.example\r\nConnection: close\r\n\r\n";
    let attack = |name, connections, rate, once, opening: &[u8], unit: Unit| Attack {
        name,
        connections,
        rate,
        at_least: rate.into(),
        tls: Tls::No,
        once,
        kib: HTTP1_KIB,
        opening: opening.to_vec(),
        unit,
    };
    let slow = b"GET / HTTP/1.1\r\nHost: bench.example\r\nX-Slow: ";
    vec![
        Attack {
            at_least: SLOW_BYTES,
            ..attack(
                "slowloris",
                10_000,
                5000,
                false,
                slow,
                Box::new(|_| b"x".to_vec()),
            )
        },
        attack(
            "heads of 15 KiB",
            32,
            1000,
            false,
            b"",
            Box::new(move |_| large.clone().into_bytes()),
        ),
        attack(
            "connection churn",
            32,
            1000,
            true,
            b"",
            Box::new(|_| health.to_vec()),
        ),
    ]
}

fn of_frames(mandate: &str) -> Vec<Attack> {
    let upload = frame(HEADERS, END_HEADERS, 1, &request("POST", "/mirror", mandate));
    let endless = frame(HEADERS, END_STREAM, 1, &block(&[(":method", "GET")]));
    let filler = frame(CONTINUATION, 0, 1, &block(&[("x-filler", &"x".repeat(8000))]));
    let reset = |number| {
        let at = stream(number);
        [
            get(at, "/", "no.mandate.here"),
            frame(RST_STREAM, 0, at, &8_u32.to_be_bytes()),
        ]
        .concat()
    };
    let bombs = |number| frame(HEADERS, END_STREAM | END_HEADERS, stream(number), &bomb());
    let ping = |_| frame(PING, 0, 0, &[0; 8]);
    vec![
        Attack {
            at_least: RESETS,
            ..over_http2("rapid reset", 10_000, &[], &[], Box::new(reset))
        },
        over_http2(
            "CONTINUATION",
            2000,
            &[],
            &[endless],
            Box::new(move |_| filler.clone()),
        ),
        over_http2(
            "SETTINGS",
            10_000,
            &[],
            &[],
            Box::new(|_| frame(SETTINGS, 0, 0, &[])),
        ),
        over_http2("PING", 10_000, &[], &[], Box::new(ping)),
        over_http2(
            "empty DATA",
            10_000,
            &[],
            &[upload],
            Box::new(|_| frame(DATA, 0, 1, &[])),
        ),
        over_http2("header bomb", 500, &[], &[], Box::new(bombs)),
    ]
}

fn of_windows(mandate: &str) -> Vec<Attack> {
    let large = |at| get(stream(at), "/bytes?n=1000000", mandate);
    let narrow = |size: u32| [&[0, 4][..], &size.to_be_bytes()].concat();
    let wider = |at| frame(WINDOW_UPDATE, 0, at, &1_u32.to_be_bytes());
    let by_one = move |_| [wider(0), wider(1)].concat();
    let ping = |_| frame(PING, 0, 0, &[0; 8]);
    let events = get(1, "/sse?ms=600000", mandate);
    let shut: Vec<_> = (0..50).map(large).collect();
    vec![
        over_http2("WINDOW_UPDATE by 1", 10_000, &[], &[events], Box::new(by_one)),
        over_http2(
            "a window of 1 byte",
            5000,
            &narrow(1),
            &[large(0)],
            Box::new(by_one),
        ),
        Attack {
            kib: HTTP2_KIB + 50 * STREAM_KIB,
            ..over_http2(
                "a window of 0, 50 streams each",
                8,
                &narrow(0),
                &shut,
                Box::new(ping),
            )
        },
    ]
}

fn of_tls() -> Vec<Attack> {
    let attack = |name, tls| Attack {
        name,
        connections: 32,
        rate: 200,
        at_least: 200,
        tls,
        once: true,
        kib: TLS_KIB,
        opening: Vec::new(),
        unit: Box::new(|_| Vec::new()),
    };
    vec![
        attack("abandoned TLS handshakes", Tls::Abandoned),
        attack("TLS handshakes", Tls::Complete),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_and_fields_are_those_of_the_rfcs() {
        assert_eq!(
            frame(PING, 1, 3, &[9; 8]),
            [&[0, 0, 8, 6, 1, 0, 0, 0, 3][..], &[9; 8]].concat()
        );
        assert_eq!(block(&[("a", "bc")]), b"\0\x01a\x02bc");
        let mut long = Vec::new();
        text(&mut long, &"x".repeat(1337));
        assert_eq!(long[..3], [127, 0xba, 0x09]);
        assert!(bomb().len() < 6000);
    }
}
