#!/usr/bin/env bash
# Guess: an HTTP/2 server on h2 or hyper resets a stream whose :path holds a fragment ("/a#b"), as it does for other characters that no path may hold, or shows it whole.
# Seen: the handler gets "/a" and nothing tells it that "#b" was there, so it cannot refuse the request; "/a<b" is reset with PROTOCOL_ERROR. hyper's HTTP/1 server cuts the same way.
# Version and source: h2 0.4.20, src/server.rs, convert_poll_message; http 1.5.0, src/uri/path.rs, from_shared (src.truncate at the fragment); RFC 9113 section 8.3.1 (:path is path and query).
set -euo pipefail

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

mkdir "$dir/src"
cat >"$dir/Cargo.toml" <<'TOML'
[package]
name = "probe"
version = "0.0.0"
edition = "2021"

[dependencies]
h2 = "=0.4.20"
http = "=1.5.0"
tokio = { version = "=1.54.1", features = ["io-util", "macros", "rt", "time"] }
TOML
cat >"$dir/src/main.rs" <<'RUST'
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A literal field without indexing and without Huffman coding (RFC 7541 section 6.2.2).
fn field(block: &mut Vec<u8>, name: &str, value: &str) {
    block.push(0);
    for text in [name, value] {
        block.push(text.len() as u8);
        block.extend(text.as_bytes());
    }
}

/// The bytes of a client that asks for this path, byte for byte: no client library would send them.
fn client(path: &str) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", path)] {
        field(&mut block, name, value);
    }
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    // HEADERS with END_STREAM and END_HEADERS on stream 1.
    bytes.extend([0, 0, block.len() as u8, 1, 5, 0, 0, 0, 1]);
    bytes.extend(block);
    bytes
}

/// What the handler is shown, or how the stream ends without it.
async fn ask(path: &str) -> String {
    let (mut caller, socket) = tokio::io::duplex(4096);
    caller.write_all(&client(path)).await.expect("sent");
    let serve = async {
        let mut connection = h2::server::handshake(socket).await.expect("a connection");
        match connection.accept().await {
            Some(Ok((request, _respond))) => format!("handler gets {}", request.uri()),
            Some(Err(error)) => format!("{error}"),
            None => "nothing".to_owned(),
        }
    };
    let listen = async {
        let mut head = [0; 9];
        loop {
            caller.read_exact(&mut head).await.expect("a frame");
            let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
            caller.read_exact(&mut payload).await.expect("a payload");
            if head[3] == 3 {
                return format!("reset with code {}", payload[3]);
            }
        }
    };
    tokio::select! {
        seen = serve => seen,
        seen = listen => seen,
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let path = std::env::args().nth(1).expect("a path");
    let seen = tokio::time::timeout(Duration::from_secs(10), ask(&path)).await;
    println!("{}", seen.expect("an outcome in time"));
}
RUST

# Crates that are already on the machine first, the registry otherwise.
build=(cargo build --quiet --manifest-path "$dir/Cargo.toml" --target-dir "$dir/target")
"${build[@]}" --offline 2>/dev/null || "${build[@]}"

fragment=$("$dir/target/debug/probe" '/a#b')
bracket=$("$dir/target/debug/probe" '/a<b')

echo "version:  h2 0.4.20, http 1.5.0"
echo "expected: /a#b: reset, or handler gets http://a/a#b"
echo "seen:     /a#b: $fragment"
echo "seen:     /a<b: $bracket"

[ "$fragment" = 'handler gets http://a/a' ] && [ "$bracket" = 'reset with code 1' ] || {
    echo "the behaviour is no longer the one described above" >&2
    exit 1
}
