//! The gateway itself: the real program in `serve` mode.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;

use serde_json::Value;
use testkit::tls::Files;

use crate::child::Child;
use crate::connection::Connection;
use crate::failure::Result;
use crate::servers::Servers;
use crate::subject::Subject;

/// A program and its arguments, split at white space. A path counts from where this program was started.
pub(crate) fn command(text: &str) -> Result<Vec<OsString>> {
    let mut words: Vec<_> = text.split_whitespace().map(OsString::from).collect();
    let program = words.first_mut().ok_or("no command")?;
    if program.as_encoded_bytes().contains(&b'/') {
        *program = std::path::absolute(&*program)?.into();
    }
    Ok(words)
}

/// Starts it and waits until it is ready.
pub(crate) async fn start(command: &[OsString], servers: &Servers) -> Result<Subject> {
    start_with(command, servers, &[]).await
}

/// The same with these variables besides.
pub(crate) async fn start_with(
    command: &[OsString],
    servers: &Servers,
    variables: &[(&'static str, String)],
) -> Result<Subject> {
    let mut subject = launch(command, servers, variables).await?;
    let address = subject.address;
    let ready = async |_: &Child| is_ready(address).await.then_some(());
    subject.child.until("the gateway to be ready", ready).await?;
    Ok(subject)
}

/// Starts it, with these variables besides, and waits until it listens.
pub(crate) async fn launch(
    command: &[OsString],
    servers: &Servers,
    variables: &[(&'static str, String)],
) -> Result<Subject> {
    let directory = tempfile::tempdir()?;
    let spool = directory.path().join("spool");
    std::fs::create_dir(&spool)?;
    let mut environment = environment(servers, &spool)?;
    environment.extend_from_slice(variables);
    let (program, arguments) = command.split_first().ok_or("no command")?;
    let arguments = [arguments, &["serve".into()]].concat();
    let mut child = Child::start(Path::new(program), &arguments, &environment, directory)?;
    let listening = async |child: &Child| child.output().lines().find_map(listening);
    let address = child.until("the gateway to listen", listening).await?;
    Ok(Subject {
        child,
        address,
        audit: Some(servers.audit_stream().await),
    })
}

/// The variables of a gateway at these servers whose spool lies in this directory.
pub(crate) fn environment(servers: &Servers, spool: &Path) -> Result<Vec<(&'static str, String)>> {
    let mut environment = vec![
        ("CARACAL_ENV", "dev".to_owned()),
        ("INSECURE_HTTP", "true".to_owned()),
        ("BIND_ADDR", "127.0.0.1".to_owned()),
        ("PORT", "0".to_owned()),
        ("ALLOW_PRIVATE_UPSTREAMS", "true".to_owned()),
        ("AUDIT_REPLAY_DIR", spool.display().to_string()),
    ];
    environment.extend(servers.environment()?);
    Ok(environment)
}

/// The variables of a gateway that shows this certificate.
pub(crate) fn over_tls(files: &Files) -> [(&'static str, String); 3] {
    [
        ("INSECURE_HTTP", "false".to_owned()),
        ("TLS_CERT_FILE", files.certificate.display().to_string()),
        ("TLS_KEY_FILE", files.key.display().to_string()),
    ]
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
    use super::{command, listening};

    #[test]
    fn command_is_split_and_its_path_does_not_move_with_the_directory() {
        let here = std::env::current_dir().unwrap();
        let words = command(" ./old/gateway  --quiet ").unwrap();
        assert_eq!(
            words,
            [here.join("old/gateway").into_os_string(), "--quiet".into()]
        );
        assert_eq!(command("gateway").unwrap(), ["gateway"]);
        assert!(command(" ").is_err());
    }

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
