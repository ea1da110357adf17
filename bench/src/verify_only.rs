//! What others spend on verifying the same ES256 tokens and forwarding, and on nothing else: HAProxy and Envoy, with the
//! zone's public key in their configuration, without a log, on one thread.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use data_encoding::{BASE64, BASE64URL_NOPAD};
use serde_json::{Value, json};

use crate::connection::Connection;
use crate::failure::Result;
use crate::proxy;
use crate::servers::Servers;
use crate::subject::Subject;

/// What stands before the point of a P-256 key in its DER form (RFC 5480 §2): a key of elliptic curves, on P-256, and a bit
/// string that holds an uncompressed point.
const SPKI_P256: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04,
];

/// The key set (RFC 7517 §5) of the zone of the requests.
pub(crate) async fn zone_keys(servers: &Servers) -> Result<Value> {
    let stack = servers.stack();
    let address: SocketAddr = proxy::authority(stack.sts_url())?.parse()?;
    let zone = stack.request_for(crate::requests::Requests::RESOURCE).zone;
    let request = format!("GET /.well-known/jwks.json?zone_id={zone} HTTP/1.1\r\nHost: sts.example\r\n\r\n");
    let mut connection = Connection::open(address).await?;
    let answer = connection.exchange(request.as_bytes()).await?;
    Ok(serde_json::from_slice(answer.body)?)
}

/// Starts HAProxy.
pub(crate) async fn haproxy(upstream_url: &str, keys: &Value) -> Result<Subject> {
    let (directory, address) = (tempfile::tempdir()?, proxy::free_address()?);
    let key = directory.path().join("zone.pem");
    std::fs::write(&key, pem(keys)?)?;
    let file = directory.path().join("haproxy.cfg");
    let upstream = proxy::authority(upstream_url)?;
    std::fs::write(&file, haproxy_configuration(address, upstream, &key))?;
    let arguments = ["-db".into(), "-f".into(), file.into_os_string()];
    proxy::start(&proxy::program("haproxy")?, &arguments, directory, address).await
}

/// Its name and version.
pub(crate) fn haproxy_version() -> Result<String> {
    let version = proxy::version(&proxy::program("haproxy")?, "-v")?;
    Ok(format!("HAProxy {version}, verifying only"))
}

/// Starts this Envoy.
pub(crate) async fn envoy(program: &Path, upstream_url: &str, keys: &Value) -> Result<Subject> {
    let (directory, address) = (tempfile::tempdir()?, proxy::free_address()?);
    let file = directory.path().join("envoy.json");
    let upstream = proxy::authority(upstream_url)?.parse()?;
    std::fs::write(&file, envoy_configuration(address, upstream, keys).to_string())?;
    let arguments = [
        "--concurrency",
        "1",
        "--disable-hot-restart",
        "--log-level",
        "error",
        "-c",
    ];
    let mut arguments: Vec<_> = arguments.map(Into::into).into();
    arguments.push(file.into_os_string());
    let program: PathBuf = std::path::absolute(program)?;
    proxy::start(&program, &arguments, directory, address).await
}

/// Its name and version.
pub(crate) fn envoy_version(program: &Path) -> Result<String> {
    let version = proxy::version(program, "--version")?;
    Ok(format!("Envoy {version}, verifying only"))
}

/// The newest key in PEM (RFC 7468 §13).
fn pem(keys: &Value) -> Result<String> {
    let mut der = SPKI_P256.to_vec();
    for name in ["x", "y"] {
        let coordinate = keys.pointer(&format!("/keys/0/{name}")).and_then(Value::as_str);
        let coordinate = coordinate.ok_or("a key set without a P-256 key")?;
        der.extend(BASE64URL_NOPAD.decode(coordinate.as_bytes())?);
    }
    let text = BASE64.encode(&der);
    Ok(format!(
        "-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n"
    ))
}

fn haproxy_configuration(address: SocketAddr, upstream: &str, key: &Path) -> String {
    let key = key.display();
    format!(
        "global
    nbthread 1
    maxconn 4096
defaults
    mode http
    timeout connect 5s
    timeout client 1h
    timeout server 1h
    http-reuse always
frontend callers
    bind {address}
    http-request set-var(txn.bearer) http_auth_bearer
    http-request deny deny_status 401 unless {{ var(txn.bearer),jwt_verify(\"ES256\",\"{key}\") -m int 1 }}
    default_backend echo
backend echo
    server one {upstream} pool-max-conn 512
"
    )
}

fn envoy_configuration(address: SocketAddr, upstream: SocketAddr, keys: &Value) -> Value {
    const FILTERS: &str = "type.googleapis.com/envoy.extensions.filters";
    let socket = |of: SocketAddr| json!({ "socket_address": { "address": of.ip().to_string(), "port_value": of.port() } });
    let verify = json!({
        "@type": format!("{FILTERS}.http.jwt_authn.v3.JwtAuthentication"),
        // The token is passed on, as the others do.
        "providers": { "zone": { "local_jwks": { "inline_string": keys.to_string() }, "forward": true } },
        "rules": [{ "match": { "prefix": "/" }, "requires": { "provider_name": "zone" } }],
    });
    let manager = json!({
        "@type": format!("{FILTERS}.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "callers",
        "codec_type": "HTTP1",
        "generate_request_id": false,
        "route_config": { "virtual_hosts": [{
            "name": "all",
            "domains": ["*"],
            "routes": [{ "match": { "prefix": "/" }, "route": { "cluster": "echo" } }],
        }] },
        "http_filters": [
            { "name": "envoy.filters.http.jwt_authn", "typed_config": verify },
            {
                "name": "envoy.filters.http.router",
                "typed_config": { "@type": format!("{FILTERS}.http.router.v3.Router") },
            },
        ],
    });
    json!({ "static_resources": {
        "listeners": [{
            "name": "callers",
            "address": socket(address),
            "filter_chains": [{ "filters": [
                { "name": "envoy.filters.network.http_connection_manager", "typed_config": manager },
            ] }],
        }],
        "clusters": [{
            "name": "echo",
            "type": "STATIC",
            "connect_timeout": "5s",
            "load_assignment": {
                "cluster_name": "echo",
                "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": socket(upstream) } }] }],
            },
        }],
    } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_becomes_pem_and_a_set_without_one_is_an_error() {
        let coordinate = BASE64URL_NOPAD.encode(&[7; 32]);
        let pem = pem(&json!({ "keys": [{ "x": coordinate, "y": coordinate }] })).unwrap();
        let line = pem.lines().nth(1).unwrap();
        assert_eq!(BASE64.decode(line.as_bytes()).unwrap().len(), 26 + 65);
        assert!(super::pem(&json!({ "keys": [] })).is_err());
    }
}
