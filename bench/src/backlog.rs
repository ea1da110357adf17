//! A long outage of the audit stream: requests go on, their evidence waits on disk, and then it drains while they go on.
//!
//! Redis runs out of memory (`maxmemory`, `noeviction`), so it refuses what writes and answers what reads. That is what an
//! audit service that stands still brings about, and the one outage of Redis that may last: a Redis that is gone ends the
//! contact with the revocation streams, and 70 seconds later nothing passes. Mandates are reusable, since a mark is a write, too.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use clap::Args;
use redis::aio::MultiplexedConnection;

use crate::audit::Evidence;
use crate::clock;
use crate::failure::Result;
use crate::gateway;
use crate::latency::Latencies;
use crate::load::Loop;
use crate::memory::Resident;
use crate::requests::Requests;
use crate::servers::Servers;
use crate::soak::is_flat;
use crate::subject::Subject;

/// The load is cut into pieces of this length; memory and stream are looked at after each.
const STRETCH: Duration = Duration::from_secs(1);
/// More than the evidence of a request takes in the spool.
const MOST_BYTES: u64 = 4096;
/// How much slower than in quiet a request may be.
const MAX_RATIO: f64 = 2.0;
/// For how many times the length of the outage the backlog may drain.
const MAX_DRAINING: u32 = 4;

/// How long, and how much.
#[derive(Args, Clone, Debug)]
pub(crate) struct Plan {
    /// Minutes for which the stream is away.
    #[arg(long, default_value_t = 10.0)]
    pub(crate) minutes: f64,
    /// Requests per second.
    #[arg(long, default_value_t = 1000)]
    pub(crate) rate: u32,
    /// Seconds before the outage, to compare with.
    #[arg(long, default_value_t = 30)]
    pub(crate) quiet: u32,
    /// Keep-alive connections.
    #[arg(long, default_value_t = 32)]
    pub(crate) connections: usize,
}

/// What was seen while one thing lasted.
struct Phase {
    name: &'static str,
    latencies: Latencies,
    failures: Vec<String>,
    memory: Vec<Resident>,
}

impl Phase {
    fn new(name: &'static str) -> Result<Self> {
        Ok(Self {
            name,
            latencies: Latencies::new()?,
            failures: Vec::new(),
            memory: Vec::new(),
        })
    }

    /// Resident memory at its greatest, in KiB.
    fn peak(&self) -> u64 {
        self.memory
            .iter()
            .map(|resident| resident.all)
            .max()
            .unwrap_or_default()
    }
}

/// Runs it and renders what was found; the second value tells whether all was well.
pub(crate) async fn run(command: &[OsString], servers: &Servers, plan: &Plan) -> Result<(String, bool)> {
    let away = Duration::from_secs_f64(plan.minutes * 60.0);
    let longest = away * (1 + MAX_DRAINING) + Duration::from_secs(60);
    let bytes = longest.as_secs() * u64::from(plan.rate) * MOST_BYTES;
    let variables = [("AUDIT_SPOOL_MAX_BYTES", bytes.to_string())];
    let mut subject = gateway::start_with(command, servers, &variables).await?;
    let mut audit = subject.audit.take().ok_or("no evidence to read")?;
    let mut redis = servers.redis().await;
    let mut load = Load {
        subject,
        servers,
        plan,
    };

    let mut quiet = Phase::new("quiet")?;
    for _ in 0..plan.quiet.max(1) {
        load.stretch(&mut quiet).await?;
    }
    max_memory(&mut redis, "1").await?;
    let mut without = Phase::new("without the stream")?;
    let began = clock::now();
    while began.elapsed() < away {
        load.stretch(&mut without).await?;
    }
    let on_disk = allocated(&load.subject.child.directory().join("spool"))?;
    max_memory(&mut redis, "0").await?;
    let mut draining = Phase::new("while it drains")?;
    let (before, began) = (audit.len().await?, clock::now());
    let sent = quiet.latencies.count() + without.latencies.count();
    let after = loop {
        load.stretch(&mut draining).await?;
        let there = audit.len().await?;
        // What is on its way without any outage.
        let waiting = (sent + draining.latencies.count()).saturating_sub(there);
        if waiting < u64::from(plan.rate) / 4 || began.elapsed() > away * MAX_DRAINING + STRETCH {
            break there;
        }
    };
    let drained = Drained {
        events: after - before,
        took: began.elapsed(),
        on_disk,
    };
    let phases = [quiet, without, draining];
    let wanted: u64 = phases.iter().map(|phase| phase.latencies.count()).sum();
    audit.delivered(wanted).await?;
    let status = load.subject.child.stop().await?;
    // At its end it ships what it has left.
    let evidence = audit.evidence().await?;
    let (text, good) = report(&phases, &drained, wanted, &evidence)?;
    Ok((format!("{text}- ended with {status}\n"), good && status.success()))
}

/// Lets Redis refuse writes, or take them again.
async fn max_memory(redis: &mut MultiplexedConnection, bytes: &str) -> Result<()> {
    let mut command = redis::cmd("CONFIG");
    command.arg(&["SET", "maxmemory", bytes]);
    Ok(command.query_async(redis).await?)
}

struct Load<'a> {
    subject: Subject,
    servers: &'a Servers,
    plan: &'a Plan,
}

impl Load<'_> {
    async fn stretch(&mut self, phase: &mut Phase) -> Result<()> {
        let Plan {
            rate, connections, ..
        } = *self.plan;
        let requests = Requests::reusable(self.servers.stack(), rate as usize)?;
        let open = Loop::Open { per_second: rate };
        let outcome = crate::load::run(self.subject.address, &requests, connections, open).await?;
        phase.latencies.add(&outcome.latencies)?;
        phase.failures.extend(outcome.first_failure);
        phase.memory.push(self.subject.resident()?);
        Ok(())
    }
}

struct Drained {
    events: u64,
    took: Duration,
    /// Bytes that the spool had taken on disk.
    on_disk: u64,
}

fn report(
    phases: &[Phase; 3],
    drained: &Drained,
    wanted: u64,
    evidence: &Evidence,
) -> Result<(String, bool)> {
    let mut text = String::from(
        "| | answered | p50 / p99 / p99.9 (ms) | p99, times the quiet one | resident at the beginning, most, at the end (MiB) |\n\
         |---|---:|---:|---:|---:|\n",
    );
    let [quiet, without, _] = phases;
    let quiet = quiet.latencies.quantile(0.99).as_secs_f64();
    let (mut fast, mut served) = (true, true);
    for phase in phases {
        let ratio = phase.latencies.quantile(0.99).as_secs_f64() / quiet.max(f64::EPSILON);
        let mib = |kib: Option<u64>| kib.unwrap_or_default() as f64 / 1024.0;
        writeln!(
            text,
            "| {} | {} | {} | {ratio:.2} | {:.1}, {:.1}, {:.1} |",
            phase.name,
            phase.latencies.count(),
            phase.latencies.quantiles(),
            mib(phase.memory.first().map(|resident| resident.all)),
            mib(Some(phase.peak())),
            mib(phase.memory.last().map(|resident| resident.all)),
        )?;
        fast &= ratio <= MAX_RATIO;
        served &= phase.failures.is_empty();
    }
    let verdict = |good: bool| if good { "ok" } else { "NOT OK" };
    writeln!(text, "\n- all answered: {}", verdict(served))?;
    for failure in phases.iter().flat_map(|phase| &phase.failures) {
        writeln!(text, "  - {failure}")?;
    }
    let seconds = drained.took.as_secs_f64();
    let waited = without.latencies.count().max(1);
    writeln!(
        text,
        "- {} events drained in {seconds:.1} s, {:.0} a second; on disk they had taken {:.1} MiB, {} bytes a request",
        drained.events,
        drained.events as f64 / seconds,
        drained.on_disk as f64 / f64::from(1 << 20),
        drained.on_disk / waited,
    )?;
    let complete = [evidence.events, evidence.executed] == [wanted; 2];
    writeln!(
        text,
        "- evidence: {} entries, {} different events, {} different requests carried out, of {wanted}: {}",
        evidence.entries,
        evidence.events,
        evidence.executed,
        verdict(complete)
    )?;
    let flat = is_flat(&without.memory);
    writeln!(text, "- memory flat without the stream: {}", verdict(flat))?;
    writeln!(
        text,
        "- p99 at most {MAX_RATIO} times the quiet one: {}",
        verdict(fast)
    )?;
    Ok((text, served && complete && flat && fast))
}

/// What the files below a directory take on disk, in bytes. One that is deleted meanwhile takes none.
fn allocated(directory: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => bytes += allocated(&entry.path())?,
            Ok(metadata) => bytes += metadata.blocks() * 512,
            Err(_) => {}
        }
    }
    Ok(bytes)
}
