#!/usr/bin/env bash
# Guess: an HTTP/1.1 client connection that waits, or whose response trickles, holds little: its buffers begin small and grow up to max_buf_size with what is read and written.
# Seen: it holds more than 24 KiB from its first request to its end, however little crosses: 8 KiB to write from, 8 KiB to read into, and a queue for 32 requests, of which one at most can wait. No option of the builder makes any of them smaller.
# Version and source: hyper 1.12.0, src/proto/h1/io.rs (INIT_BUFFER_SIZE, which is max_buf_size's least value too), src/client/dispatch.rs (an unbounded channel of tokio 1.54.1, whose blocks have 32 places).
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
http-body-util = "=0.1.5"
hyper = { version = "=1.12.0", features = ["client", "http1"] }
hyper-util = { version = "=0.1.21", default-features = false, features = ["tokio"] }
tokio = { version = "=1.54.1", features = ["io-util", "macros", "rt"] }
TOML
cat >"$dir/src/main.rs" <<'RUST'
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicIsize, Ordering};

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::Request;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Counts what is allocated.
struct Counting;

static LIVE: AtomicIsize = AtomicIsize::new(0);

unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size() as isize, Ordering::Relaxed);
        System.alloc(layout)
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size() as isize, Ordering::Relaxed);
        System.dealloc(at, layout)
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let (client, mut server) = tokio::io::duplex(256);
    let before = LIVE.load(Ordering::Relaxed);
    let handshake = http1::Builder::new()
        .max_buf_size(8192)
        .handshake::<_, Empty<Bytes>>(TokioIo::new(client));
    let (mut sender, driver) = handshake.await.expect("a connection");
    let upstream = async {
        let mut seen = Vec::with_capacity(256);
        while !seen.ends_with(b"\r\n\r\n") {
            server.read_buf(&mut seen).await.expect("a request");
        }
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n";
        server.write_all(head).await.expect("a caller");
        server
    };
    let exchange = async {
        let request = Request::get("/").header("host", "a").body(Empty::new()).expect("a request");
        let (answer, server) = tokio::join!(sender.send_request(request), upstream);
        let mut body = answer.expect("an answer").into_body();
        body.frame().await.expect("a frame").expect("a piece");
        (LIVE.load(Ordering::Relaxed) - before, body, server)
    };
    tokio::select! {
        ended = driver => panic!("the connection ended: {ended:?}"),
        (held, ..) = exchange => println!("{held}"),
    }
}
RUST

# Crates that are already on the machine first, the registry otherwise.
build=(cargo build --quiet --manifest-path "$dir/Cargo.toml" --target-dir "$dir/target")
"${build[@]}" --offline 2>/dev/null || "${build[@]}"

held=$("$dir/target/debug/probe")

echo "version:  hyper 1.12.0, tokio 1.54.1"
echo "expected: a connection over which 100 bytes went holds less than 8192 bytes"
echo "seen:     $held bytes"

((held > 24 * 1024)) || {
    echo "the behaviour is no longer the one described above" >&2
    exit 1
}
