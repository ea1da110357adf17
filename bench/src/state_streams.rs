//! Many live streams in a running gateway: the memory of each, CPU while all of them are silent, and how soon the
//! revocation of one session ends its stream and no other.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::time::Duration;

use clap::Args;
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use rustix::process::{Resource, getrlimit, setrlimit};
use testkit::tls::Ca;
use tokio::time::{sleep, timeout};

use crate::announcer::Anchor;
use crate::clock;
use crate::cpu::ProcessCpu;
use crate::failure::Result;
use crate::gateway;
use crate::latency::{Latencies, Quantiles};
use crate::servers::Servers;
use crate::stream_client::{Caller, HOST, MOST_KIB, Speaks};

/// The longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(60);
/// Files that a process needs besides one for each stream's sockets.
const OTHER_FILES: usize = 600;
/// Requests that are on their way to becoming streams at a time.
const OPENING: usize = 32;
/// An upstream whose first event comes at once and whose second does not come.
const RESOURCE: &str = "resource://mandate";

/// What to open and to revoke.
#[derive(Args, Clone, Debug)]
pub(crate) struct Plan {
    /// Streams, each with a session of its own; fewer where the open files of a process are limited.
    #[arg(long, default_value_t = 10_000)]
    pub(crate) streams: usize,
    /// How many of them are revoked, one after the other.
    #[arg(long, default_value_t = 500)]
    pub(crate) revocations: usize,
    /// Seconds during which the CPU is watched while nothing happens.
    #[arg(long, default_value_t = 20)]
    pub(crate) silence: u64,
}

/// What was seen with callers of one kind.
struct Seen {
    speaks: Speaks,
    streams: usize,
    /// Resident memory of each, in KiB.
    kib: f64,
    /// Shares of a core, without streams and with all of them.
    idle: f64,
    silent: f64,
    in_force: Quantiles,
    /// Streams that should not have ended, and revoked ones that did not break off.
    wrong: usize,
}

/// A stream that is open, and the session it rests on.
struct Live {
    body: Incoming,
    session: String,
    zone: String,
}

/// Runs it all; the second value tells whether all is within its bounds.
pub(crate) async fn run(command: &[OsString], servers: &Servers, plan: &Plan) -> Result<(String, bool)> {
    let files = open_files()?.saturating_sub(OTHER_FILES);
    let mut text = String::from(
        "| live streams to callers of | number | resident, each (KiB) | CPU while silent (% of a core) | without streams | \
         from `XADD` to the end, p50 / p99 / p99.9 (ms) | wrongly ended or not |\n|---|---:|---:|---:|---:|---:|---:|\n",
    );
    let mut good = true;
    for speaks in [Speaks::Http1, Speaks::Http1Tls, Speaks::Http2] {
        // Each process has a socket of each stream towards its upstream, and one of each connection of a caller.
        let most = files - files.div_ceil(speaks.streams_per_connection() + 1);
        let seen = measure(command, servers, plan, speaks, plan.streams.min(most)).await?;
        let Seen {
            speaks,
            streams,
            kib,
            idle,
            silent,
            in_force,
            wrong,
        } = seen;
        writeln!(
            text,
            "| {speaks} | {streams} | {kib:.1} | {silent:.2} | {idle:.2} | {in_force} | {wrong} |"
        )?;
        good &= kib <= MOST_KIB && silent <= 0.5 && in_force.p99 <= Duration::from_millis(10) && wrong == 0;
    }
    Ok((text, good))
}

async fn measure(
    command: &[OsString],
    servers: &Servers,
    plan: &Plan,
    speaks: Speaks,
    streams: usize,
) -> Result<Seen> {
    let connections = streams.div_ceil(speaks.streams_per_connection());
    let (ca, directory) = (Ca::new(), tempfile::tempdir()?);
    let mut variables = vec![
        ("MAX_CONNECTIONS", (connections + 20).to_string()),
        ("MAX_CONNECTIONS_PER_SOURCE", (connections + 20).to_string()),
        ("MAX_INFLIGHT_REQUESTS", (streams + 20).to_string()),
        ("STREAM_IDLE_TIMEOUT", "1h".to_owned()),
    ];
    if speaks == Speaks::Http1Tls {
        let files = ca.server(&[HOST]).write_to(directory.path());
        variables.extend(gateway::over_tls(&files));
    }
    let subject = gateway::launch(command, servers, &variables).await?;
    let process = subject.child.id();
    let silence = Duration::from_secs(plan.silence);
    let idle = share_of_a_core(process, silence).await?;
    let before = subject.resident()?;
    let mut live = open(servers, Caller::new(subject.address, speaks, ca), streams).await?;
    let after = subject.resident()?;
    let silent = share_of_a_core(process, silence).await?;

    let kept = live.split_off(plan.revocations.min(live.len()));
    let mut announcer = servers.announcer().await;
    let (mut latencies, mut wrong) = (Latencies::new()?, 0);
    for mut stream in live {
        let began = clock::now();
        announcer
            .revoke(Anchor::Session, &stream.session, &stream.zone)
            .await?;
        let end = timeout(PATIENCE, stream.body.frame()).await;
        latencies.record(clock::now().duration_since(began));
        wrong += usize::from(!matches!(end, Ok(Some(Err(_)))));
    }
    for mut stream in kept {
        wrong += usize::from(stream.body.frame().now_or_never().is_some());
    }
    let status = subject.child.stop().await?;
    if !status.success() {
        return Err(format!("the gateway ended with {status}").into());
    }
    let kib = after.anonymous.saturating_sub(before.anonymous) as f64;
    Ok(Seen {
        speaks,
        streams,
        kib: kib / streams.max(1) as f64,
        idle,
        silent,
        in_force: latencies.quantiles(),
        wrong,
    })
}

/// Opens streams and reads the first event of each.
async fn open(servers: &Servers, caller: Caller, count: usize) -> Result<Vec<Live>> {
    let stack = servers.stack();
    let opening = stream::iter(0..count).map(async |_| {
        let request = stack.request_for(RESOURCE);
        let minted = stack
            .mint(&request)
            .map_err(|refusal| format!("no mandate: {refusal:?}"))?;
        let body = caller.stream(RESOURCE, minted.token.expose()).await?;
        Ok(Live {
            body,
            session: minted.sid,
            zone: request.zone,
        })
    });
    opening.buffer_unordered(OPENING).try_collect().await
}

async fn share_of_a_core(process: u32, during: Duration) -> Result<f64> {
    // What was under way is over.
    sleep(Duration::from_secs(3)).await;
    let before = ProcessCpu::of(process)?;
    sleep(during).await;
    let used = ProcessCpu::of(process)?.since(&before);
    Ok(100.0 * used.as_secs_f64() / during.as_secs_f64())
}

/// How many files this process, and with it the gateway, may open: as many as the system lets it.
pub(crate) fn open_files() -> Result<usize> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit)?;
    Ok(usize::try_from(limit.maximum.unwrap_or(u64::MAX))?)
}
