//! Proxies that others made: what starting one has in common with starting another.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use testkit::program;
use tokio::net::TcpStream;

use crate::child::Child;
use crate::failure::Result;
use crate::subject::Subject;

/// An address that is free now, and that nobody else on this machine is likely to take in the next moment.
pub(crate) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// The authority of an upstream's URL.
pub(crate) fn authority(upstream_url: &str) -> Result<&str> {
    let authority = upstream_url.strip_prefix("http://");
    authority.ok_or_else(|| "an upstream that is not plain http".into())
}

/// Starts one and waits until it listens.
pub(crate) async fn start(
    program: &Path,
    arguments: &[OsString],
    directory: TempDir,
    address: SocketAddr,
) -> Result<Subject> {
    let mut child = Child::start(program, arguments, &[], directory)?;
    let connected = async |_: &Child| TcpStream::connect(address).await.ok().map(drop);
    let what = format!("{} to listen", program.display());
    child.until(&what, connected).await?;
    Ok(Subject {
        child,
        address,
        audit: None,
    })
}

/// Where a program of this name is.
pub(crate) fn program(name: &str) -> Result<PathBuf> {
    program::find(name).ok_or_else(|| format!("{name} is not installed").into())
}

/// The first version number that a program says of itself: `nginx version: nginx/1.22.1` becomes `1.22.1`.
pub(crate) fn version(program: &Path, argument: &str) -> Result<String> {
    let output = Command::new(program).arg(argument).output()?;
    let text = [output.stdout, output.stderr].concat();
    Ok(first_version(&String::from_utf8_lossy(&text)).to_owned())
}

fn first_version(text: &str) -> &str {
    let is_version =
        |word: &&str| word.contains('.') && word.starts_with(|first: char| first.is_ascii_digit());
    let mut words = text.split(|c: char| !c.is_ascii_digit() && c != '.');
    words.find(is_version).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::first_version;

    #[test]
    fn version_is_the_first_number_with_dots() {
        for (text, expect) in [
            ("nginx version: nginx/1.22.1\n", "1.22.1"),
            (
                "HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://haproxy.org/",
                "2.6.12",
            ),
            (
                "\nenvoy  version: 0ae8c1a2/1.40.0/Clean/RELEASE/BoringSSL\n",
                "1.40.0",
            ),
            ("nothing 2", ""),
        ] {
            assert_eq!(first_version(text), expect);
        }
    }
}
