//! The bindings at scale, in a running gateway: the time to load them, their memory, and how soon changes of them are in
//! force, with and without traffic beside them.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::time::Duration;

use clap::Args;
use testkit::postgres::{self, Database};
use tokio::time::{interval, sleep};

use crate::clock;
use crate::connection::Connection;
use crate::cpu::ProcessCpu;
use crate::failure::Result;
use crate::gateway;
use crate::latency::{Latencies, Quantiles};
use crate::load::Loop;
use crate::requests::Requests;
use crate::servers::Servers;
use crate::subject::Subject;

const LOADED: &str = "caracal_gateway_bindings_loaded";
const CHANGES: &str = "caracal_gateway_binding_changes_read_total";
const HEARD: &str = "caracal_gateway_binding_changes_notified";
/// The longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(60);
/// Pause between two looks at a metric, which cost the measured process time.
const POLL_INTERVAL: Duration = Duration::from_millis(2);
const CONNECTIONS: usize = 16;

/// What to hold and to change.
#[derive(Args, Clone, Debug)]
pub(crate) struct Plan {
    /// Bindings in the database, over 20 zones.
    #[arg(long, default_value_t = 100_000)]
    pub(crate) bindings: u32,
    /// Changes, each of one binding.
    #[arg(long, default_value_t = 100)]
    pub(crate) changes: u32,
    /// Changes in a second.
    #[arg(long, default_value_t = 10)]
    pub(crate) changes_per_second: u32,
    /// Requests in a second, meanwhile and without changes.
    #[arg(long, default_value_t = 200)]
    pub(crate) requests_per_second: u32,
}

/// Runs it all; the second value tells whether all is within its bounds.
pub(crate) async fn run(command: &[OsString], servers: &Servers, plan: &Plan) -> Result<(String, bool)> {
    let mut subject = gateway::start(command, servers).await?;
    let mut page = Connection::open(subject.address).await?;
    wait(&mut page, HEARD, 1).await?;
    let before = (metric(&mut page, LOADED).await?, subject.resident()?);
    let database = servers.database();
    insert(database, plan.bindings).await;
    let inserted = clock::now();
    let cpu = ProcessCpu::of(subject.child.id())?;
    wait(&mut page, LOADED, before.0 + u64::from(plan.bindings)).await?;
    let loading = clock::now().duration_since(inserted);
    let loading_cpu = ProcessCpu::of(subject.child.id())?.since(&cpu);
    let resident = subject.resident()?;
    // As the server itself does soon after.
    database
        .execute("ANALYZE resources, gateway_resource_bindings")
        .await;

    let (quiet, quiet_failed) = load(&mut subject, servers, plan).await?;
    let (busy, busy_failed) = {
        let changes = change(database, plan, async |_| Ok(()));
        let (busy, changed) = tokio::join!(load(&mut subject, servers, plan), changes);
        changed?;
        busy?
    };
    let mut read = metric(&mut page, CHANGES).await?;
    let mut latencies = Latencies::new()?;
    change(database, plan, async |_| {
        let changed = clock::now();
        read += 1;
        wait(&mut page, CHANGES, read).await?;
        latencies.record(clock::now().duration_since(changed));
        Ok(())
    })
    .await?;
    let status = subject.child.stop().await?;

    let mib = |kib: u64| kib as f64 / 1024.0;
    let held = mib(resident.anonymous.saturating_sub(before.1.anonymous));
    let in_force = latencies.quantiles();
    let mut text = String::new();
    writeln!(text, "| {} bindings | |\n|---|---:|", plan.bindings)?;
    writeln!(
        text,
        "| from the commit until they are loaded (ms), CPU of the gateway meanwhile (ms) | {} / {} |",
        loading.as_millis(),
        loading_cpu.as_millis()
    )?;
    writeln!(text, "| resident more than before (MiB) | {held:.1} |")?;
    writeln!(
        text,
        "| requests without changes, p50 / p99 / p99.9 (ms) | {quiet}, {quiet_failed} failed |"
    )?;
    writeln!(
        text,
        "| requests at {} changes a second (ms) | {busy}, {busy_failed} failed |",
        plan.changes_per_second
    )?;
    writeln!(
        text,
        "| from the commit of a change until it is in force (ms) | {in_force} |"
    )?;
    let good = loading < Duration::from_secs(1)
        && held <= 50.0
        && quiet_failed + busy_failed == 0
        && busy.p99 <= quiet.p99 * 2
        && in_force.p99 <= Duration::from_millis(100)
        && status.success();
    Ok((text, good))
}

/// Inserts bindings in one transaction.
async fn insert(database: &Database, count: u32) {
    let rows = count.saturating_sub(1);
    let sql = format!(
        "INSERT INTO zones SELECT 'zone-' || n, 'n' FROM generate_series(0, 19) n; \
         INSERT INTO resources (id, zone_id, name, identifier, upstream_url, credential_provider_id) \
             SELECT 'bench-' || n, 'zone-' || n % 20, 'n', 'resource://api-' || n, \
                    'https://api-' || n || '.internal.example.com/v1', 'p' FROM generate_series(0, {rows}) n; \
         INSERT INTO gateway_resource_bindings (zone_id, resource_identifier, application_id) \
             SELECT 'zone-' || n % 20, 'resource://api-' || n, 'application-' || n % 100 \
             FROM generate_series(0, {rows}) n"
    );
    database.execute(&sql).await;
}

/// Changes one binding after the other, and calls `changed` when each is committed.
async fn change(
    database: &Database,
    plan: &Plan,
    mut changed: impl AsyncFnMut(u32) -> Result<()>,
) -> Result<()> {
    let connection = postgres::connect(&database.owner_url()).await;
    let mut pace = interval(Duration::from_secs(1) / plan.changes_per_second.max(1));
    for number in 0..plan.changes {
        pace.tick().await;
        let sql = format!(
            "UPDATE resources SET upstream_url = 'https://changed.example.com/' || gen_random_uuid() \
             WHERE id = 'bench-{}'",
            number % plan.bindings.max(1)
        );
        connection.client.batch_execute(&sql).await?;
        changed(number).await?;
    }
    Ok(())
}

/// The requests beside: as long as the changes take. How long they took, and how many failed.
async fn load(subject: &mut Subject, servers: &Servers, plan: &Plan) -> Result<(Quantiles, u64)> {
    let seconds = plan.changes.div_ceil(plan.changes_per_second.max(1));
    let per_second = plan.requests_per_second;
    let count = usize::try_from(per_second * seconds)?;
    let requests = Requests::mint(servers.stack(), count)?;
    let measured = subject
        .load(&requests, CONNECTIONS, Loop::Open { per_second })
        .await?;
    Ok((measured.outcome.latencies.quantiles(), measured.outcome.failed))
}

/// Waits until a metric is at least this.
async fn wait(page: &mut Connection, name: &str, least: u64) -> Result<()> {
    let deadline = clock::now() + PATIENCE;
    while metric(page, name).await? < least {
        if clock::now() > deadline {
            return Err(format!("waited {PATIENCE:?} in vain for {name} to be {least}").into());
        }
        sleep(POLL_INTERVAL).await;
    }
    Ok(())
}

async fn metric(page: &mut Connection, name: &str) -> Result<u64> {
    let answer = page
        .exchange(b"GET /metrics HTTP/1.1\r\nHost: bench.example\r\n\r\n")
        .await?;
    let text = String::from_utf8_lossy(answer.body);
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    Ok(value.ok_or_else(|| format!("no metric {name}"))?.trim().parse()?)
}
