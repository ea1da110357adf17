//! nginx as a plain proxy in front of the same upstream: what forwarding costs without any gate.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use tokio::net::TcpStream;

use crate::child::Child;
use crate::failure::Result;
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
    let upstream = upstream_url
        .strip_prefix("http://")
        .ok_or("an upstream that is not plain http")?;
    let directory = tempfile::tempdir()?;
    // Free now, and nobody else on this machine is likely to take it in the next moment.
    let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
    let file = directory.path().join("nginx.conf");
    std::fs::write(
        &file,
        configuration(directory.path(), address, upstream, buffering),
    )?;
    let arguments = ["-e".into(), "stderr".into(), "-c".into(), file.into_os_string()];
    let mut child = Child::start(&program()?, &arguments, &[], directory)?;
    let connected = async |_: &Child| TcpStream::connect(address).await.ok().map(drop);
    child.until("nginx to listen", connected).await?;
    Ok(Subject {
        child,
        address,
        audit: None,
    })
}

/// `nginx version: nginx/1.22.1` becomes `nginx 1.22.1`.
pub(crate) fn version() -> Result<String> {
    let output = Command::new(program()?).arg("-v").output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    let version = text.trim().rsplit('/').next().unwrap_or_default();
    Ok(format!("nginx {version}"))
}

/// Debian puts it where only root looks.
fn program() -> Result<PathBuf> {
    ["/usr/sbin/nginx", "/usr/bin/nginx", "/usr/local/sbin/nginx"]
        .into_iter()
        .map(PathBuf::from)
        .find(|path| path.is_file())
        .ok_or_else(|| "nginx is not installed".into())
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
