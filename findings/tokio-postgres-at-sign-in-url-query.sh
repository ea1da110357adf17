#!/usr/bin/env bash
# Guess: in postgres://db.example/shop?application_name=web@blue the host is db.example; an "@" in the query part is plain data.
# Seen: everything up to that first "@" is read as the user name, the host becomes "blue" and no error is given; libpq reads the same URL as guessed. Written as %40 it works.
# Version and source: tokio-postgres 0.7.18, src/config.rs, UrlParser::parse_credentials (compared with the libpq inside psycopg2-binary 2.9.13); RFC 3986 sections 3.2 and 3.4.
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
use tokio_postgres::config::{Config, Host};

fn main() {
    let url = std::env::args().nth(1).expect("a URL");
    let config: Config = url.parse().expect("the URL is accepted");
    let hosts: Vec<_> = config
        .get_hosts()
        .iter()
        .map(|host| match host {
            Host::Tcp(name) => name.clone(),
            other => format!("{other:?}"),
        })
        .collect();
    println!(
        "host={} user={} dbname={} application_name={}",
        hosts.join(","),
        config.get_user().unwrap_or("-"),
        config.get_dbname().unwrap_or("-"),
        config.get_application_name().unwrap_or("-"),
    );
}
RUST
cat >"$dir/libpq.py" <<'PYTHON'
import sys
from psycopg2.extensions import parse_dsn

found = parse_dsn(sys.argv[1])
print(*(f"{k}={found.get(k, '-')}" for k in ("host", "user", "dbname", "application_name")))
PYTHON

# Crates that are already on the machine first, the registry otherwise.
build=(cargo build --quiet --manifest-path "$dir/Cargo.toml" --target-dir "$dir/target")
"${build[@]}" --offline 2>/dev/null || "${build[@]}"
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet psycopg2-binary==2.9.13

plain='postgres://db.example/shop?application_name=web@blue'
escaped='postgres://db.example/shop?application_name=web%40blue'
guess='host=db.example user=- dbname=shop application_name=web@blue'
surprise='host=blue user=db.example/shop?application_name=web dbname=- application_name=-'

seen=$("$dir/target/debug/probe" "$plain")
seen_escaped=$("$dir/target/debug/probe" "$escaped")
seen_libpq=$("$dir/venv/bin/python" "$dir/libpq.py" "$plain")

echo "version:  tokio-postgres 0.7.18"
echo "input:    $plain"
echo "expected: $guess"
echo "seen:     $seen"
echo "with %40: $seen_escaped"
echo "libpq:    $seen_libpq"

[ "$seen" = "$surprise" ] && [ "$seen_escaped" = "$guess" ] && [ "$seen_libpq" = "$guess" ] || {
    echo "the behaviour is no longer the one described above" >&2
    exit 1
}
