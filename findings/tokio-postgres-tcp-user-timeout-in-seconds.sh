#!/usr/bin/env bash
# Guess: tcp_user_timeout=20000 in a connection string means 20 seconds, as for libpq, whose parameter it is (milliseconds).
# Seen: it is read as 20000 seconds, five and a half hours, without a word; a peer that vanished is kept that long. libpq sets the socket option to 20000 ms.
# Version and source: tokio-postgres 0.7.18, src/config.rs, Config::param (compared with the libpq inside psycopg2-binary 2.9.13); PostgreSQL 18 documentation, section 34.1.2, tcp_user_timeout.
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
tokio-postgres = { version = "=0.7.18", default-features = false }
TOML
cat >"$dir/src/main.rs" <<'RUST'
use tokio_postgres::config::Config;

fn main() {
    let text = std::env::args().nth(1).expect("a connection string");
    let config: Config = text.parse().expect("the text is accepted");
    let timeout = config.get_tcp_user_timeout().expect("a timeout");
    println!("{} ms", timeout.as_millis());
}
RUST
cat >"$dir/libpq.py" <<'PYTHON'
import os, socket, sys

import psycopg2

with socket.create_server(("127.0.0.1", 0)) as server:
    port = server.getsockname()[1]
    # Begins to connect and returns: the socket option is set by then.
    connection = psycopg2.connect(f"host=127.0.0.1 port={port} user=u sslmode=disable {sys.argv[1]}", async_=True)
    with socket.socket(fileno=os.dup(connection.fileno())) as opened:
        print(opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT), "ms")
PYTHON

# Crates that are already on the machine first, the registry otherwise.
build=(cargo build --quiet --manifest-path "$dir/Cargo.toml" --target-dir "$dir/target")
"${build[@]}" --offline 2>/dev/null || "${build[@]}"
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet psycopg2-binary==2.9.13

text='tcp_user_timeout=20000'
seen=$("$dir/target/debug/probe" "host=127.0.0.1 $text")
seen_libpq=$("$dir/venv/bin/python" "$dir/libpq.py" "$text")

echo "version:  tokio-postgres 0.7.18"
echo "input:    $text"
echo "expected: 20000 ms"
echo "seen:     $seen"
echo "libpq:    $seen_libpq"

[ "$seen" = "20000000 ms" ] && [ "$seen_libpq" = "20000 ms" ] || {
    echo "the behaviour is no longer the one described above" >&2
    exit 1
}
