#!/usr/bin/env bash
# Guess: what a handler's future holds is memory of a request: it is given back when the response begins, so an idle connection, or one whose response streams for hours, does not hold it.
# Seen: an HTTP/1.1 server connection allocates room for the whole future once and keeps it until the connection closes; a handler of 64 KiB costs 64 KiB on each open connection. A handler that returns a boxed future does not.
# Version and source: hyper 1.12.0, src/proto/h1/dispatch.rs, Server::in_flight (a Pin<Box<Option<S::Future>>> that is set to None, not dropped).
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
tokio = { version = "=1.54.1", features = ["io-util", "macros", "rt"] }
TOML
cat >"$dir/src/main.rs" <<'RUST'
use std::alloc::{GlobalAlloc, Layout, System};
use std::convert::Infallible;
use std::future::Future;
use std::sync::atomic::{AtomicIsize, Ordering};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
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

type Answer = Result<Response<Full<Bytes>>, Infallible>;

/// Holds 64 KiB while it works.
async fn answer(_: Request<Incoming>) -> Answer {
    let held = [1u8; 64 * 1024];
    tokio::task::yield_now().await;
    std::hint::black_box(&held);
    Ok(Response::new(Full::new(Bytes::from_static(b"ok"))))
}

/// KiB that the connection holds when its one request has been answered.
async fn idle<F: Future<Output = Answer>>(handler: fn(Request<Incoming>) -> F) -> isize {
    let (mut client, server) = tokio::io::duplex(1024);
    let before = LIVE.load(Ordering::Relaxed);
    let mut connection =
        std::pin::pin!(http1::Builder::new().serve_connection(TokioIo::new(server), service_fn(handler)));
    let exchange = async {
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("sent");
        let mut seen = Vec::with_capacity(1024);
        while !seen.ends_with(b"ok") {
            client.read_buf(&mut seen).await.expect("an answer");
        }
    };
    tokio::select! {
        ended = &mut connection => panic!("the connection ended: {ended:?}"),
        () = exchange => (LIVE.load(Ordering::Relaxed) - before) / 1024,
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let plain = idle(answer).await;
    let boxed = idle(|request| Box::pin(answer(request))).await;
    println!("{plain} {boxed}");
}
RUST

# Crates that are already on the machine first, the registry otherwise.
build=(cargo build --quiet --manifest-path "$dir/Cargo.toml" --target-dir "$dir/target")
"${build[@]}" --offline 2>/dev/null || "${build[@]}"

read -r plain boxed < <("$dir/target/debug/probe")

echo "version:  hyper 1.12.0"
echo "expected: an idle connection whose handler held 64 KiB holds less than 64 KiB"
echo "seen:     $plain KiB; where the handler returns a boxed future: $boxed KiB"

((plain >= 64 && boxed < 32)) || {
    echo "the behaviour is no longer the one described above" >&2
    exit 1
}
