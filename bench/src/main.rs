//! What one governed request costs, measured from outside.
//!
//! `report` puts the real gateway, in `serve` mode with a real Redis and PostgreSQL, nginx as a plain proxy, and HAProxy and
//! Envoy that verify and do nothing else, under the same load in front of the same upstream in turns, and prints one table.
//! `compare` does so with two builds of the gateway, and prints the ratios of their CPU per request and of their latency.
//! `growth` compares the gateway with itself where there is more of everything. `soak` sends many requests and checks that none
//! failed, that the evidence of each arrived and that memory stayed flat. `state` holds a million revoked anchors in a
//! revocation state of its own, `state-bindings` loads many bindings and changes them under load, `state-streams` keeps
//! many streams open and revokes some. `transport` measures what lies around a request: bulk bodies, new TLS connections
//! and idle ones. `backlog` takes the audit stream away and lets what has gathered drain, `crash` kills
//! gateways and compares their evidence with what the upstream saw. `overload` asks for more than can be done, `abuse` does
//! what no caller should, and both look at what others notice. `stage` only keeps gateways running for
//! `scripts/interop`. `bench/run` builds what is needed and finds the servers' programs.
//!
//! The proxy has one core to itself; generator, upstream, STS and stores share another. CPU time is the kernel's own
//! account of the whole process. Every request carries a mandate of its own, minted before the measurement.

mod abuse;
mod announcer;
mod audit;
mod backlog;
mod child;
mod clock;
mod compare;
mod connection;
mod cpu;
mod crash;
mod failure;
mod gateway;
mod growth;
mod latency;
mod load;
mod memory;
mod nginx;
mod overload;
mod perf;
mod proxy;
mod report;
mod requests;
mod schedule;
mod servers;
mod soak;
mod spread;
mod stage;
mod state;
mod state_bindings;
mod state_streams;
mod stream_client;
mod subject;
mod transport;
mod verification;
mod verify_only;

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio::runtime::{Builder, Runtime};

use crate::failure::Result;
use crate::servers::Servers;

#[derive(Parser)]
#[command(about, long_about = None)]
struct Cli {
    /// The program to measure [default: the caracal-gateway beside this program].
    #[arg(long, global = true, value_name = "FILE")]
    gateway: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure the gateway beside nginx, and beside others that verify and do nothing else; print a table.
    Report(report::Plan),
    /// Run this build and another in turns; print the ratios of their CPU per request and of their latency.
    Compare(compare::Plan),
    /// Measure what a request costs where there is more of everything: connections, zones, bindings, anchors, cores.
    Growth(growth::Plan),
    /// Measure the revocation state at scale: memory, requests while a snapshot is applied, the time to revoke.
    State(state::Plan),
    /// Measure the bindings at scale: loading, memory, changes under load.
    StateBindings(state_bindings::Plan),
    /// Measure live streams: memory of each, CPU while all are silent, the time to revoke one.
    StateStreams(state_streams::Plan),
    /// Send many requests; check answers, evidence and memory.
    Soak(soak::Plan),
    /// Take the audit stream away for minutes under load; measure latency and memory meanwhile and while the events drain.
    Backlog(backlog::Plan),
    /// Measure what lies around a request: bulk bodies, new TLS connections, idle connections.
    Transport(transport::Plan),
    /// Accept TLS connections and nothing else: what `transport` compares the gateway with.
    #[command(hide = true)]
    TlsAlone(transport::TlsAlone),
    /// Ask more than the gateway can do; measure what it serves, how soon, and whether it says that it lives.
    Overload(overload::Plan),
    /// Abuse the gateway in every way that HTTP has; measure what other callers notice, and its memory.
    Abuse(abuse::Plan),
    /// Kill gateways at random moments under load; compare the evidence with what the upstream saw.
    Crash(crash::Plan),
    /// Start gateways in front of other upstreams, say where in a line of JSON, and serve until standard input ends.
    Stage(stage::Plan),
}

fn main() -> ExitCode {
    let (text, code) = match run(Cli::parse()) {
        Ok((text, true)) => (text, ExitCode::SUCCESS),
        Ok((text, false)) => (text, ExitCode::FAILURE),
        Err(error) => (format!("caracal-bench: {error}\n"), ExitCode::FAILURE),
    };
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => code,
        Err(_) => ExitCode::FAILURE,
    }
}

fn run(cli: Cli) -> Result<(String, bool)> {
    let gateway = match cli.gateway {
        Some(program) => std::path::absolute(program)?,
        None => std::env::current_exe()?.with_file_name("caracal-gateway"),
    };
    let gateway = [gateway.into()];
    match &cli.command {
        Command::Crash(plan) => return crash(&gateway, plan),
        Command::TlsAlone(alone) => return alone.serve(),
        Command::Stage(plan) => {
            let servers = devstack()?;
            let stack = servers.block_on(stage::stack(plan))?;
            return servers.block_on(stage::run(&gateway, stack, plan));
        }
        Command::Growth(plan) => return growth(&gateway, plan),
        _ => {}
    }
    // Before the first thread and the first child, which all inherit it.
    cpu::pin(cpu::OTHERS)?;
    // STS and upstream have a thread of their own, so that the generator's share can be told from theirs.
    let servers = devstack()?;
    let stack = servers.block_on(servers::stack(None))?;
    let generator = Builder::new_current_thread().enable_all().build()?;
    generator.block_on(async {
        let servers = Servers::start(stack).await?;
        match cli.command {
            Command::Report(plan) => report::run(&gateway, &servers, &plan).await,
            Command::Compare(plan) => Ok((compare::run(&gateway, &servers, &plan).await?, true)),
            Command::State(plan) => state::run(&servers, &plan).await,
            Command::StateBindings(plan) => state_bindings::run(&gateway, &servers, &plan).await,
            Command::StateStreams(plan) => state_streams::run(&gateway, &servers, &plan).await,
            Command::Soak(plan) => soak::run(&gateway, &servers, &plan).await,
            Command::Backlog(plan) => backlog::run(&gateway, &servers, &plan).await,
            Command::Transport(plan) => transport::run(&gateway, &servers, &plan).await,
            Command::Overload(plan) => overload::run(&gateway, &servers, &plan).await,
            Command::Abuse(plan) => abuse::run(&gateway, &servers, &plan).await,
            Command::Crash(_) | Command::TlsAlone(_) | Command::Stage(_) | Command::Growth(_) => {
                Err("it has servers of its own".into())
            }
        }
    })
}

/// The runtime of STS and upstream.
fn devstack() -> std::io::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("devstack")
        .enable_all()
        .build()
}

fn growth(gateway: &[OsString], plan: &growth::Plan) -> Result<(String, bool)> {
    cpu::pin(cpu::OTHERS)?;
    let servers = devstack()?;
    let stack = servers.block_on(growth::stack(plan))?;
    let generator = Builder::new_current_thread().enable_all().build()?;
    generator.block_on(async { growth::run(gateway, &Servers::start(stack).await?, plan).await })
}

/// Nothing is measured, so every process may use all cores.
fn crash(gateway: &[OsString], plan: &crash::Plan) -> Result<(String, bool)> {
    let servers = devstack()?;
    let watched = servers.block_on(crash::Watched::start())?;
    let generator = Builder::new_current_thread().enable_all().build()?;
    generator.block_on(crash::run(gateway, watched, plan))
}
