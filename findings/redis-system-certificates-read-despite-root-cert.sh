#!/usr/bin/env bash
# Guess: a redis client that is given its own root certificate (TlsCertificates::root_cert) trusts that one and does not look at the system's certificate store.
# Seen: every connection reads the whole system store first, and fails when one file of it cannot be read, although nothing of it is used; with SSL_CERT_FILE unset, or with a good file in it, the same connection gets to the TLS handshake.
# Version and source: redis 1.8.1, src/connection.rs, create_rustls_config (load_native_certs before tls_params.root_cert_store is looked at); rustls-native-certs 0.8.
set -euo pipefail

dir=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server"; rm -rf "$dir"' EXIT

mkdir "$dir/src"
cat >"$dir/Cargo.toml" <<'TOML'
[package]
name = "probe"
version = "0.0.0"
edition = "2021"

[dependencies]
redis = { version = "=1.8.1", default-features = false, features = ["tls-rustls"] }
rustls = { version = "0.23", default-features = false, features = ["ring", "std", "tls12"] }
TOML
cat >"$dir/src/main.rs" <<'RUST'
use redis::{Client, TlsCertificates};

fn main() {
    rustls::crypto::ring::default_provider().install_default().expect("one provider");
    let (url, root) = (std::env::args().nth(1).expect("a URL"), std::env::args().nth(2).expect("a file"));
    let certificates = TlsCertificates {
        client_tls: None,
        root_cert: Some(std::fs::read(root).expect("a root certificate")),
    };
    let client = Client::build_with_tls(url, certificates).expect("certificates that can be used");
    match client.get_connection() {
        Ok(_) => println!("connected"),
        Err(error) => println!("{error}"),
    }
}
RUST
# Takes what the client says first, and hangs up: a client that got so far fails in its handshake.
cat >"$dir/server.py" <<'PYTHON'
import socket

listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
while True:
    connection, _ = listener.accept()
    connection.recv(4096)
    connection.close()
PYTHON

# Crates that are already on the machine first, the registry otherwise.
build=(cargo build --quiet --manifest-path "$dir/Cargo.toml" --target-dir "$dir/target")
"${build[@]}" --offline 2>/dev/null || "${build[@]}"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$dir/key.pem" -out "$dir/root.pem" \
    -days 2 -subj /CN=root 2>/dev/null
mkfifo "$dir/port"
python3 "$dir/server.py" >"$dir/port" &
server=$!
read -r port <"$dir/port"

probe() { env SSL_CERT_FILE="$1" "$dir/target/debug/probe" "rediss://127.0.0.1:$port/" "$dir/root.pem"; }
good=$(probe "$dir/root.pem")
gone=$(probe "$dir/none.pem")

echo "version:  redis 1.8.1"
echo "input:    root_cert is set; SSL_CERT_FILE names a file that is there, and one that is not"
echo "expected: the same outcome"
echo "there:    $good"
echo "not:      $gone"

[[ $good == *"unexpected end of file"* ]] && [[ $gone == *"No such file"* ]] || {
    echo "the behaviour is no longer the one described above" >&2
    exit 1
}
