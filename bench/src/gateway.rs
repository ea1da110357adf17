//! The gateway itself: the real program in `serve` mode.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::Value;

use crate::child::Child;
use crate::connection::Connection;
use crate::failure::Result;
use crate::site::Site;

/// Starts it and waits until it is ready.
pub(crate) async fn start(program: &Path, site: &Site) -> Result<(Child, SocketAddr)> {
    let directory = tempfile::tempdir()?;
    let spool = directory.path().join("spool");
    std::fs::create_dir(&spool)?;
    let mut environment = vec![
        ("CARACAL_ENV", "dev".to_owned()),
        ("INSECURE_HTTP", "true".to_owned()),
        ("BIND_ADDR", "127.0.0.1".to_owned()),
        ("PORT", "0".to_owned()),
        ("ALLOW_PRIVATE_UPSTREAMS", "true".to_owned()),
        ("AUDIT_REPLAY_DIR", spool.display().to_string()),
    ];
    environment.extend(site.environment()?);
    let mut child = Child::start(program, &["serve".into()], &environment, directory)?;
    let listening = async |child: &Child| child.output().lines().find_map(listening);
    let address = child.until("the gateway to listen", listening).await?;
    let ready = async |_: &Child| is_ready(address).await.then_some(());
    child.until("the gateway to be ready", ready).await?;
    Ok((child, address))
}

async fn is_ready(address: SocketAddr) -> bool {
    let ask = async {
        let mut connection = Connection::open(address).await?;
        let request = b"GET /ready HTTP/1.1\r\nHost: bench.example\r\n\r\n";
        connection.exchange(request).await.map(|answer| answer.status)
    };
    ask.await.is_ok_and(|status: u16| status == 200)
}

/// The address in `{"msg":"listening","addr":"127.0.0.1:PORT", ..}`.
fn listening(line: &str) -> Option<SocketAddr> {
    let line: Value = serde_json::from_str(line).ok()?;
    (line.get("msg")?.as_str()? == "listening").then_some(())?;
    line.get("addr")?.as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::listening;

    #[test]
    fn only_the_listening_line_gives_an_address() {
        let line = r#"{"level":"INFO","msg":"listening","addr":"127.0.0.1:4711"}"#;
        assert_eq!(listening(line), Some("127.0.0.1:4711".parse().unwrap()));
        for other in [
            r#"{"msg":"draining","addr":"127.0.0.1:1"}"#,
            r#"{"msg":"listening"}"#,
            "listening",
        ] {
            assert_eq!(listening(other), None, "{other}");
        }
    }
}
