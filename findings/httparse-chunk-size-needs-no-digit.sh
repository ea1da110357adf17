#!/usr/bin/env bash
# Guess: httparse::parse_chunk_size takes what RFC 9112 §7.1 calls the first line of a chunk, so that a decoder can rest on it: at least one digit, and a line that ends at its first line feed.
# Seen: a line without a digit has the size 0, which makes an empty line the last chunk and a body that lost bytes look whole; and an extension runs on over line feeds alone, so that what other parsers take for the next line belongs to it.
# Version and source: httparse 1.10.1, src/lib.rs, parse_chunk_size (`size` begins at 0 and is not asked whether a digit came; `_ if in_ext => {}`). hyper 1.12.0 has a decoder of its own, which refuses both.
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
httparse = "=1.10.1"
TOML
cat >"$dir/src/main.rs" <<'RUST'
fn main() {
    for line in [&b"\r\n"[..], b";x\r\n", b"1;x\n2\r\n"] {
        print!("{:?} ", httparse::parse_chunk_size(line));
    }
}
RUST

# Crates that are already on the machine first, the registry otherwise.
build=(cargo build --quiet --manifest-path "$dir/Cargo.toml" --target-dir "$dir/target")
"${build[@]}" --offline 2>/dev/null || "${build[@]}"

seen=$("$dir/target/debug/probe")

echo "version:  httparse 1.10.1"
echo "expected: an empty line, a line that begins with its extension, and a line feed alone in one are errors"
echo "seen:     $seen"

[[ $seen == 'Ok(Complete((2, 0))) Ok(Complete((4, 0))) Ok(Complete((7, 1))) ' ]] || {
    echo "the behaviour is no longer the one described above" >&2
    exit 1
}
