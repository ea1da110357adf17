#!/usr/bin/env bash
# Guess: redis://127.0.0.1:6379/?db=5 selects database 5, or is refused as an unknown parameter.
# Seen: it is accepted and means database 0, while "protocol" in the same query is honoured and "db" in the query of a unix:// URL is too; the Python client reads the same URL as database 5.
# Version and source: redis 1.8.1, src/connection.rs, url_to_tcp_connection_info and url_to_unix_connection_info; URL forms in src/lib.rs, "Connection Parameters" (compared with redis 8.1.0 from PyPI).
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
use redis::IntoConnectionInfo;

fn main() {
    let url = std::env::args().nth(1).expect("a URL");
    let info = url.into_connection_info().expect("the URL is accepted");
    let settings = info.redis_settings();
    println!("db={} protocol={:?}", settings.db(), settings.protocol());
}
RUST
cat >"$dir/client.py" <<'PYTHON'
import sys
from redis.connection import parse_url

print(f"db={parse_url(sys.argv[1]).get('db', 0)}")
PYTHON

# Crates that are already on the machine first, the registry otherwise.
build=(cargo build --quiet --manifest-path "$dir/Cargo.toml" --target-dir "$dir/target")
"${build[@]}" --offline 2>/dev/null || "${build[@]}"
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet redis==8.1.0

tcp='redis://127.0.0.1:6379/?db=5&protocol=resp3'
unix='unix:///run/redis.sock?db=5&protocol=resp3'

seen=$("$dir/target/debug/probe" "$tcp")
seen_unix=$("$dir/target/debug/probe" "$unix")
seen_python=$("$dir/venv/bin/python" "$dir/client.py" "redis://127.0.0.1:6379/?db=5")

echo "version:  redis 1.8.1"
echo "input:    $tcp"
echo "expected: db=5 protocol=RESP3, or an error"
echo "seen:     $seen"
echo "unix URL: $seen_unix"
echo "Python:   $seen_python"

[ "$seen" = 'db=0 protocol=RESP3' ] && [ "$seen_unix" = 'db=5 protocol=RESP3' ] && [ "$seen_python" = 'db=5' ] || {
    echo "the behaviour is no longer the one described above" >&2
    exit 1
}
