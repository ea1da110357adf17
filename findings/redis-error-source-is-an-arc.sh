#!/usr/bin/env bash
# Guess: the source() of a refused connection's RedisError is the std::io::Error itself, so downcast_ref::<std::io::Error>() finds it.
# Seen: source() is an Arc around the error; the downcast gives None, no further source() follows, and only a downcast to Arc<dyn Error + Send + Sync> leads to the io::Error.
# Version and source: redis 1.8.1, src/errors/redis_error.rs, "impl error::Error for RedisError" and the enum ErrorRepr (variant Internal).
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
redis = { version = "=1.8.1", default-features = false }
TOML
cat >"$dir/src/main.rs" <<'RUST'
use std::error::Error;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;

fn main() {
    // A port that was free a moment ago and that nobody listens on now.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    drop(listener);

    let client = redis::Client::open(format!("redis://127.0.0.1:{port}/")).expect("a valid URL");
    let error = client.get_connection().err().expect("nobody listens");

    let mut direct = 0;
    let mut links = 0;
    let mut link = error.source();
    while let Some(cause) = link {
        links += 1;
        direct += usize::from(cause.is::<io::Error>());
        link = cause.source();
    }
    let through_arc = error
        .source()
        .and_then(|cause| cause.downcast_ref::<Arc<dyn Error + Send + Sync>>())
        .and_then(|cause| cause.downcast_ref::<io::Error>())
        .map(io::Error::kind);
    println!(
        "is_connection_refusal={} links={links} io_errors_in_chain={direct} through_arc={through_arc:?}",
        error.is_connection_refusal()
    );
}
RUST

# Crates that are already on the machine first, the registry otherwise.
build=(cargo build --quiet --manifest-path "$dir/Cargo.toml" --target-dir "$dir/target")
"${build[@]}" --offline 2>/dev/null || "${build[@]}"

seen=$("$dir/target/debug/probe")

echo "version:  redis 1.8.1"
echo "expected: is_connection_refusal=true links=1 io_errors_in_chain=1 through_arc=None"
echo "seen:     $seen"

[ "$seen" = 'is_connection_refusal=true links=1 io_errors_in_chain=0 through_arc=Some(ConnectionRefused)' ] || {
    echo "the behaviour is no longer the one described above" >&2
    exit 1
}
