//! The report: gateway and nginx under the same load, in one run.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::failure::Result;
use crate::load::Loop;
use crate::nginx::Buffering;
use crate::perf::Profiler;
use crate::requests::Requests;
use crate::servers::Servers;
use crate::subject::Subject;
use crate::table::{Column, Findings};
use crate::verification::Verification;
use crate::{gateway, nginx, table};

/// What to send.
#[derive(Args, Clone, Debug)]
pub(crate) struct Plan {
    /// Requests in each measured load.
    #[arg(long, default_value_t = 20_000)]
    pub(crate) requests: usize,
    /// Requests before anything is measured.
    #[arg(long, default_value_t = 5_000)]
    pub(crate) warm_up: usize,
    /// Keep-alive connections of the closed loop.
    #[arg(long, default_value_t = 32)]
    pub(crate) connections: usize,
    /// Keep-alive connections of the open loop.
    #[arg(long, default_value_t = 256)]
    pub(crate) open_connections: usize,
    /// Requests per second of the open loop [default: half of what the gateway did in the closed one].
    #[arg(long)]
    pub(crate) rate: Option<u32>,
    /// Leave nginx out.
    #[arg(long)]
    pub(crate) no_nginx: bool,
    /// Sample the gateway with perf during the closed loop, into this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) perf: Option<PathBuf>,
}

/// Runs it all and renders the report; the second value tells whether every request was answered as it should.
pub(crate) async fn run(command: &[OsString], servers: &Servers, plan: &Plan) -> Result<(String, bool)> {
    let mut verification = Verification::default();
    let probe = Requests::mint(servers.stack(), plan.warm_up.max(1000))?;
    verification.measure(probe.mandates())?;

    let subject = gateway::start(command, servers).await?;
    let (name, perf) = ("caracal-gateway".into(), plan.perf.as_ref());
    let (column, rate, profile) = measure(name, subject, servers, plan, plan.rate, perf).await?;
    let mut columns = vec![column];
    verification.measure(probe.mandates())?;

    if !plan.no_nginx {
        let subject = nginx::start(servers.stack().upstream_url(), Buffering::Default).await?;
        let (column, _, _) = measure(nginx::version()?, subject, servers, plan, Some(rate), None).await?;
        columns.push(column);
        verification.measure(probe.mandates())?;
    }
    let right = columns
        .iter()
        .all(|column| column.closed.outcome.failed + column.open.outcome.failed == 0);
    let findings = Findings {
        requests: plan.requests,
        connections: plan.connections,
        open_connections: plan.open_connections,
        rate,
        verification,
        columns,
        profile,
    };
    Ok((table::render(&findings), right))
}

async fn measure(
    name: String,
    mut subject: Subject,
    servers: &Servers,
    plan: &Plan,
    rate: Option<u32>,
    perf: Option<&PathBuf>,
) -> Result<(Column, u32, Option<String>)> {
    // What start-up has left to do, and the memory it gives back, settle first.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let idle = subject.resident()?;
    let mint = |count| Requests::mint(servers.stack(), count);
    subject
        .load(&mint(plan.warm_up)?, plan.connections, Loop::Closed)
        .await?;
    let requests = mint(plan.requests)?;
    let profiler = perf
        .map(|file| Profiler::start(subject.child.id(), file))
        .transpose()?;
    let closed = subject.load(&requests, plan.connections, Loop::Closed).await?;
    let profile = profiler.map(Profiler::finish).transpose()?;
    let per_second = rate.unwrap_or((closed.outcome.per_second() / 2.0) as u32).max(1);
    let open = subject
        .load(
            &mint(plan.requests)?,
            plan.open_connections,
            Loop::Open { per_second },
        )
        .await?;
    let column = Column {
        name,
        idle,
        loaded: subject.resident()?,
        closed,
        open,
    };
    subject.child.stop().await?;
    Ok((column, per_second, profile))
}
