#!/usr/bin/env bash
# Guess: graceful_shutdown() of an HTTP/1 server connection ends it behind the request that has arrived, on a new connection and on one that was kept.
# Seen: a new or kept connection on which the library has read nothing yet is closed without an answer, though the request lies in the socket; only one whose head was read is answered.
# Version and source: hyper 1.12.0, src/proto/h1/dispatch.rs (disable_keep_alive: has_initial_read_write_state) and src/proto/h1/conn.rs (disable_keep_alive: is_idle).
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
hyper = { version = "=1.12.0", features = ["http1", "server"] }
hyper-util = { version = "=0.1.21", default-features = false, features = ["tokio"] }
tokio = { version = "=1.54.1", features = ["io-util", "macros", "net", "rt", "time"] }
TOML
cat >"$dir/src/main.rs" <<'RUST'
use std::convert::Infallible;
use std::pin::pin;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

async fn answer(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::new(Bytes::from_static(b"ok"))))
}

/// Sends a request, has it arrive, asks for a graceful shutdown, and gives what the caller gets from then on.
async fn ask(kept: bool) -> &'static str {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let mut caller = TcpStream::connect(address).await.expect("a connection");
    let (socket, _) = listener.accept().await.expect("a caller");
    let mut connection =
        pin!(http1::Builder::new().serve_connection(TokioIo::new(socket), service_fn(answer)));
    if kept {
        let first = async {
            caller.write_all(REQUEST).await.expect("sent");
            let mut text = Vec::new();
            while !text.ends_with(b"ok") {
                caller.read_buf(&mut text).await.expect("an answer");
            }
        };
        tokio::select! {
            () = first => {}
            _ = connection.as_mut() => panic!("the connection is kept"),
        }
    }
    caller.write_all(REQUEST).await.expect("sent");
    tokio::time::sleep(Duration::from_millis(100)).await;
    connection.as_mut().graceful_shutdown();
    let served = async {
        let mut text = Vec::new();
        // Closed with bytes unread is a reset.
        let _ = caller.read_to_end(&mut text).await;
        text
    };
    let (_, text) = tokio::join!(connection, served);
    if text.starts_with(b"HTTP/1.1 200") { "answered" } else { "no answer" }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    for kept in [false, true] {
        let seen = tokio::time::timeout(Duration::from_secs(10), ask(kept)).await;
        println!("{}", seen.expect("the server closes the connection"));
    }
}
RUST

# Crates that are already on the machine first, the registry otherwise.
build=(cargo build --quiet --manifest-path "$dir/Cargo.toml" --target-dir "$dir/target")
"${build[@]}" --offline 2>/dev/null || "${build[@]}"

mapfile -t seen < <("$dir/target/debug/probe")

echo "version:  hyper 1.12.0"
echo "expected: answered, answered"
echo "seen:     new connection: ${seen[0]}"
echo "seen:     kept connection: ${seen[1]}"

[ "${seen[*]}" = 'no answer no answer' ] || {
    echo "the behaviour is no longer the one described above" >&2
    exit 1
}
