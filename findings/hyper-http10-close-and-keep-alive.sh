#!/usr/bin/env bash
# Guess: a handler that sets "Connection: close" on its response has that header sent as it is, to an HTTP/1.0 caller that asked for keep-alive too.
# Seen: the server adds the opposite word and sends "connection: close, keep-alive", then closes; an HTTP/1.1 caller gets just "connection: close".
# Version and source: hyper 1.12.0, src/proto/h1/conn.rs, fix_keep_alive (it looks for keep-alive in the response, never for close); RFC 9112 section 9.3.
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
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

async fn answer(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::builder()
        .header("connection", "close")
        .body(Full::new(Bytes::from_static(b"ok")))
        .expect("a valid response"))
}

/// Sends one request and gives the Connection field of all that came until the server closed.
async fn ask(version: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let server = async {
        let (socket, _) = listener.accept().await.expect("a caller");
        let served = http1::Builder::new().serve_connection(TokioIo::new(socket), service_fn(answer));
        served.await.expect("a clean end");
    };
    let caller = async {
        let mut socket = TcpStream::connect(address).await.expect("a connection");
        let request = format!("GET / {version}\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n");
        socket.write_all(request.as_bytes()).await.expect("sent");
        let mut text = String::new();
        socket.read_to_string(&mut text).await.expect("closed by the server");
        text
    };
    let ((), text) = tokio::join!(server, caller);
    text.lines()
        .filter(|line| line.to_ascii_lowercase().starts_with("connection:"))
        .collect::<Vec<_>>()
        .join(" | ")
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let version = std::env::args().nth(1).expect("an HTTP version");
    let seen = tokio::time::timeout(Duration::from_secs(10), ask(&version)).await;
    println!("{}", seen.expect("the server closes the connection"));
}
RUST

# Crates that are already on the machine first, the registry otherwise.
build=(cargo build --quiet --manifest-path "$dir/Cargo.toml" --target-dir "$dir/target")
"${build[@]}" --offline 2>/dev/null || "${build[@]}"

seen10=$("$dir/target/debug/probe" HTTP/1.0)
seen11=$("$dir/target/debug/probe" HTTP/1.1)

echo "version:  hyper 1.12.0"
echo "expected: HTTP/1.0 caller: connection: close"
echo "seen:     HTTP/1.0 caller: $seen10"
echo "seen:     HTTP/1.1 caller: $seen11"

[ "$seen10" = 'connection: close, keep-alive' ] && [ "$seen11" = 'connection: close' ] || {
    echo "the behaviour is no longer the one described above" >&2
    exit 1
}
