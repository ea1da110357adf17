//! nginx as a plain proxy in front of the same upstream: what forwarding costs without any gate.

use std::net::SocketAddr;
use std::path::Path;

use crate::failure::Result;
use crate::proxy;
use crate::subject::Subject;

/// Whether bodies are gathered before they are passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Buffering {
    /// As nginx does by itself.
    Default,
    /// They are not, in either direction.
    Off,
}

/// Starts it. One process, connections kept open on both sides, one line per request in its log, as the gateway
/// writes one.
pub(crate) async fn start(upstream_url: &str, buffering: Buffering) -> Result<Subject> {
    let upstream = proxy::authority(upstream_url)?;
    let directory = tempfile::tempdir()?;
    let address = proxy::free_address()?;
    let file = directory.path().join("nginx.conf");
    std::fs::write(
        &file,
        configuration(directory.path(), address, upstream, buffering),
    )?;
    let arguments = ["-e".into(), "stderr".into(), "-c".into(), file.into_os_string()];
    proxy::start(&proxy::program("nginx")?, &arguments, directory, address).await
}

/// Its name and version.
pub(crate) fn version() -> Result<String> {
    Ok(format!(
        "nginx {}",
        proxy::version(&proxy::program("nginx")?, "-v")?
    ))
}

fn configuration(directory: &Path, address: SocketAddr, upstream: &str, buffering: Buffering) -> String {
    let directory = directory.display();
    let buffering = match buffering {
        Buffering::Default => "",
        Buffering::Off => "proxy_buffering off; proxy_request_buffering off;",
    };
    format!(
        "daemon off;
master_process off;
pid {directory}/pid;
error_log stderr warn;
events {{ worker_connections 4096; }}
http {{
    access_log {directory}/access.log;
    client_body_temp_path {directory}/client;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    client_header_buffer_size 8k;
    keepalive_requests 1000000000;
    upstream echo {{
        server {upstream};
        keepalive 512;
        keepalive_requests 1000000000;
    }}
    server {{
        listen {address};
        location / {{
            proxy_pass http://echo;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
            client_max_body_size 0;
            {buffering}
        }}
    }}
}}
"
    )
}
