#!/usr/bin/env bash
# Guess: a TCP_USER_TIMEOUT longer than the kernel can count is shortened to the longest that it can, as the library's clamp suggests.
# Seen: it is clamped to 32 bits of milliseconds, Linux takes 31, and the call fails with "Invalid argument": a time limit of 25 days or more keeps every connection from being made.
# Version and source: socket2 0.6.5, src/sys/unix.rs, set_tcp_user_timeout (min(ms, c_uint::MAX)); Linux net/ipv4/tcp.c, TCP_USER_TIMEOUT (a negative int is EINVAL).
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
socket2 = { version = "=0.6.5", features = ["all"] }
TOML
cat >"$dir/src/main.rs" <<'RUST'
use std::time::Duration;

use socket2::{Domain, Socket, Type};

fn main() {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let longest = Duration::from_millis(i32::MAX as u64);
    for limit in [longest, longest + Duration::from_millis(1), Duration::MAX] {
        match socket.set_tcp_user_timeout(Some(limit)) {
            Ok(()) => println!("taken"),
            Err(error) => println!("{:?}", error.kind()),
        }
    }
}
RUST

# Crates that are already on the machine first, the registry otherwise.
build=(cargo build --quiet --manifest-path "$dir/Cargo.toml" --target-dir "$dir/target")
"${build[@]}" --offline 2>/dev/null || "${build[@]}"

seen=$("$dir/target/debug/probe" | paste -sd' ')

echo "version:  socket2 0.6.5, Linux $(uname -r)"
echo "expected: 2^31 - 1 ms, 2^31 ms, longest duration: taken taken taken"
echo "seen:     2^31 - 1 ms, 2^31 ms, longest duration: $seen"

[ "$seen" = 'taken InvalidInput InvalidInput' ] || {
    echo "the behaviour is no longer the one described above" >&2
    exit 1
}
