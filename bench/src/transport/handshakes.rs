//! New TLS 1.3 connections: CPU of the gateway, and of the TLS library with a socket and nothing else.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ServerConfig};
use testkit::tls::Ca;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_util::task::TaskTracker;

use super::Plan;
use crate::child::Child;
use crate::cpu::ProcessCpu;
use crate::failure::Result;
use crate::gateway;
use crate::servers::Servers;
use crate::spread::Spread;
use crate::stream_client::HOST;

/// The greatest ratio of the gateway's CPU to the library's alone.
const MOST: f64 = 1.05;
/// Handshakes under way at a time.
const OPENING: usize = 8;
/// How long one connection may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// What the server with the library alone says before its address.
const LISTENING: &str = "listening on ";

/// Measures both, in turns.
pub(super) async fn run(command: &[OsString], servers: &Servers, plan: &Plan) -> Result<(String, bool)> {
    let (ca, directory) = (Ca::new(), tempfile::tempdir()?);
    let files = ca.server(&[HOST]).write_to(directory.path());
    let gateway = gateway::launch(command, servers, &gateway::over_tls(&files)).await?;
    let arguments = ["tls-alone".into(), files.certificate.into(), files.key.into()];
    let mut alone = Child::start(&std::env::current_exe()?, &arguments, &[], tempfile::tempdir()?)?;
    let listening = async |child: &Child| child.output().trim().strip_prefix(LISTENING)?.parse().ok();
    let address = alone.until("the TLS library to listen", listening).await?;

    // A client that never resumes: every connection is a new one.
    let mut client = ca.client_config(&["http/1.1"]);
    client.resumption = rustls::client::Resumption::disabled();
    let client = Arc::new(client);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let sides = [(gateway.child.id(), gateway.address), (alone.id(), address)];
    for (_, address) in sides {
        connect(address, &client, plan.handshakes / 2 + 1).await?;
    }
    for _ in 0..plan.rounds {
        for ((process, address), seen) in sides.into_iter().zip([&mut ours, &mut theirs]) {
            let before = ProcessCpu::of(process)?;
            connect(address, &client, plan.handshakes).await?;
            let used = ProcessCpu::of(process)?.since(&before);
            seen.push(used.as_secs_f64() * 1e6 / f64::from(plan.handshakes));
        }
    }
    gateway.child.stop().await?;
    let (ours, theirs) = (Spread::of(ours).median, Spread::of(theirs).median);
    let ratio = ours / theirs;
    let mut text = String::from(
        "| a new TLS 1.3 connection | gateway, CPU \u{b5}s | rustls alone | ratio | at most |\n|---|---:|---:|---:|---:|\n",
    );
    writeln!(
        text,
        "| opened and closed | {ours:.0} | {theirs:.0} | {ratio:.2} | {MOST} |"
    )?;
    Ok((text, ratio <= MOST))
}

/// Opens so many connections, and closes each when its handshake is done.
async fn connect(to: SocketAddr, client: &Arc<ClientConfig>, count: u32) -> Result<()> {
    let opening = stream::iter(0..count).map(async |_| {
        let one = async {
            let stream = TcpStream::connect(to).await?;
            let name = ServerName::try_from(HOST)?;
            let mut stream = TlsConnector::from(Arc::clone(client))
                .connect(name, stream)
                .await?;
            stream.shutdown().await?;
            // The end of the server's side: it is done with this connection.
            let mut rest = [0; 64];
            while stream.read(&mut rest).await? > 0 {}
            Result::Ok(())
        };
        timeout(PATIENCE, one)
            .await
            .map_err(|_| "a connection takes too long")?
    });
    opening.buffer_unordered(OPENING).try_collect().await
}

/// A server that has the TLS library, a socket and nothing else.
#[derive(Args, Clone, Debug)]
pub(crate) struct TlsAlone {
    /// Its chain, in PEM.
    certificate: PathBuf,
    /// Its key, in PEM.
    key: PathBuf,
}

impl TlsAlone {
    /// Serves until it is killed.
    pub(crate) fn serve(&self) -> Result<(String, bool)> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        runtime.block_on(self.accept())
    }

    async fn accept(&self) -> Result<(String, bool)> {
        let chain =
            CertificateDer::pem_file_iter(&self.certificate)?.collect::<std::result::Result<_, _>>()?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, PrivateKeyDer::from_pem_file(&self.key)?)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        writeln!(std::io::stdout(), "{LISTENING}{}", listener.local_addr()?)?;
        let connections = TaskTracker::new();
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let acceptor = acceptor.clone();
            connections.spawn(async move {
                // A connection that fails is missed by the client, which counts.
                if let Ok(mut stream) = acceptor.accept(stream).await {
                    let mut rest = [0; 64];
                    while stream.read(&mut rest).await.is_ok_and(|count| count > 0) {}
                    let _ended = stream.shutdown().await;
                }
            });
        }
    }
}
