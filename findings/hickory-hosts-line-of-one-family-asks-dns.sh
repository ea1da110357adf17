#!/usr/bin/env bash
# Guess: a name that has an IPv4 line in the hosts file has that address alone, as with getaddrinfo of glibc ("hosts: files dns"): name servers are not asked for it.
# Seen: lookup_ip also asks them for the family that the file does not give, and returns both, with its default strategy theirs first: who dials in that order does not use what the file pins.
# Version and source: hickory-resolver 0.26.3, src/lookup_ip.rs, LookupContext::hosts_lookup (the file is asked for each query type); hosts(5), nsswitch.conf(5).
set -euo pipefail

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

mkdir "$dir/src"
cat >"$dir/Cargo.toml" <<'TOML'
[package]
name = "probe"
version = "0.0.0"
edition = "2024"

[dependencies]
hickory-resolver = { version = "=0.26.3", default-features = false, features = ["tokio", "system-config"] }
tokio = { version = "=1.54.1", features = ["macros", "net", "rt", "time"] }
TOML
cat >"$dir/src/main.rs" <<'RUST'
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use hickory_resolver::config::{NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::{Hosts, TokioResolver};
use tokio::net::UdpSocket;

/// A name server that has an IPv6 address for every name, and no IPv4 address (RFC 1035 section 4.1).
async fn serve(socket: UdpSocket) {
    let mut query = [0; 512];
    while let Ok((length, peer)) = socket.recv_from(&mut query).await {
        let end = query[12..length].iter().position(|byte| *byte == 0).expect("a name") + 12 + 5;
        let is_six = query[end - 3] == 28;
        let mut answer = query[..2].to_vec();
        answer.extend([0x81, 0x80, 0, 1, 0, u8::from(is_six), 0, 0, 0, 0]);
        answer.extend(&query[12..end]);
        if is_six {
            answer.extend([0xc0, 12, 0, 28, 0, 1, 0, 0, 0, 60, 0, 16]);
            answer.extend([0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        }
        socket.send_to(&answer, peer).await.expect("sent");
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let port = socket.local_addr().expect("an address").port();
    tokio::spawn(serve(socket));
    let mut server = NameServerConfig::udp_and_tcp(IpAddr::from(Ipv4Addr::LOCALHOST));
    server.connections.iter_mut().for_each(|connection| connection.port = port);
    let config = ResolverConfig::from_parts(None, vec![], vec![server]);
    let builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    let mut resolver = builder.build().expect("a resolver");
    let mut hosts = Hosts::default();
    hosts.read_hosts_conf("192.0.2.9 redis\n".as_bytes()).expect("a hosts file");
    resolver.set_hosts(Arc::new(hosts));
    let found = resolver.lookup_ip("redis.").await.expect("an answer");
    let found: Vec<_> = found.iter().map(|address| address.to_string()).collect();
    println!("{}", found.join(" "));
}
RUST

# Crates that are already on the machine first, the registry otherwise.
build=(cargo build --quiet --manifest-path "$dir/Cargo.toml" --target-dir "$dir/target")
"${build[@]}" --offline 2>/dev/null || "${build[@]}"

seen=$("$dir/target/debug/probe")

echo "version:  hickory-resolver 0.26.3"
echo "expected: 192.0.2.9"
echo "seen:     $seen"

[ "$seen" = '2001:db8::1 192.0.2.9' ] || {
    echo "the behaviour is no longer the one described above" >&2
    exit 1
}
