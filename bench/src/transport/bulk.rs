//! Large bodies in both directions: CPU of the gateway, and of nginx that passes each piece on as it comes.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Plan;
use crate::cpu::ProcessCpu;
use crate::failure::Result;
use crate::nginx::Buffering;
use crate::requests::Requests;
use crate::servers::Servers;
use crate::spread::Spread;
use crate::subject::Subject;
use crate::{gateway, nginx};

/// The greatest ratio of the gateway's CPU to nginx's.
const MOST: f64 = 0.35;
/// How long a body may take.
const PATIENCE: Duration = Duration::from_secs(300);
/// What the caller reads or writes at a time.
const PIECE: usize = 256 * 1024;
const MIB: usize = 1024 * 1024;

/// Which way a body goes.
#[derive(Clone, Copy, Debug)]
enum Way {
    Down,
    Up,
}

/// Measures both ways, in turns.
pub(super) async fn run(command: &[OsString], servers: &Servers, plan: &Plan) -> Result<(String, bool)> {
    let variables = [
        ("MAX_REQUEST_BYTES", (1_u64 << 40).to_string()),
        ("READ_TIMEOUT", "10m".to_owned()),
        ("WRITE_TIMEOUT", "10m".to_owned()),
    ];
    let gateway = gateway::start_with(command, servers, &variables).await?;
    let nginx = nginx::start(servers.stack().upstream_url(), Buffering::Off).await?;
    let length = usize::try_from(plan.mebibytes)? * MIB;
    let mut text = format!(
        "| bodies of {} MiB | gateway, CPU ms per GiB | {} without buffering | ratio | at most |\n|---|---:|---:|---:|---:|\n",
        plan.mebibytes,
        nginx::version()?
    );
    let mut good = true;
    for (name, way) in [("to the caller", Way::Down), ("to the upstream", Way::Up)] {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..plan.rounds {
            for (subject, seen) in [(&gateway, &mut ours), (&nginx, &mut theirs)] {
                seen.push(turn(subject, servers, way, length).await?);
            }
        }
        let (ours, theirs) = (Spread::of(ours).median, Spread::of(theirs).median);
        let ratio = ours / theirs;
        writeln!(text, "| {name} | {ours:.0} | {theirs:.0} | {ratio:.2} | {MOST} |")?;
        good &= ratio <= MOST;
    }
    gateway.child.stop().await?;
    nginx.child.stop().await?;
    Ok((text, good))
}

/// CPU of one body, in ms per GiB.
async fn turn(subject: &Subject, servers: &Servers, way: Way, length: usize) -> Result<f64> {
    let mandates = Requests::mint(servers.stack(), 1)?;
    let mandate = mandates.mandates().next().ok_or("no mandate")?;
    let before = ProcessCpu::of(subject.child.id())?;
    timeout(PATIENCE, pass(subject.address, mandate, way, length))
        .await
        .map_err(|_| "a body takes too long")??;
    let used = ProcessCpu::of(subject.child.id())?.since(&before);
    Ok(used.as_secs_f64() * 1e3 * (1024 * MIB) as f64 / length as f64)
}

async fn pass(to: SocketAddr, mandate: &str, way: Way, length: usize) -> Result<()> {
    let (line, declared, expected) = match way {
        Way::Down => (format!("GET /bytes?n={length}"), 0, length),
        Way::Up => ("POST /bytes?n=1".to_owned(), length, 1),
    };
    let head = format!(
        "{line} HTTP/1.1\r\nHost: bench.example\r\nAuthorization: Bearer {mandate}\r\nX-Caracal-Resource: {}\r\n\
         Content-Length: {declared}\r\nConnection: close\r\n\r\n",
        Requests::RESOURCE
    );
    let mut stream = TcpStream::connect(to).await?;
    stream.write_all(head.as_bytes()).await?;
    let mut piece = vec![b'x'; PIECE];
    let mut left = declared;
    while left > 0 {
        let now = left.min(PIECE);
        stream.write_all(piece.get(..now).unwrap_or_default()).await?;
        left -= now;
    }
    // Of the answer only its length is looked at: the head is short, and the connection closes behind the body.
    let (mut got, mut start) = (0, Vec::new());
    loop {
        let count = stream.read(&mut piece).await?;
        if count == 0 {
            break;
        }
        if start.len() < PIECE {
            start.extend_from_slice(piece.get(..count).unwrap_or_default());
        }
        got += count;
    }
    let head = memchr::memmem::find(&start, b"\r\n\r\n").ok_or("an answer without a head")? + 4;
    if !start.starts_with(b"HTTP/1.1 200") || got - head != expected {
        let start = String::from_utf8_lossy(start.get(..head).unwrap_or_default());
        return Err(format!("{got} bytes behind {start}").into());
    }
    Ok(())
}
