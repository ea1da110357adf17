//! The revocation state at scale: memory, requests while a snapshot is applied, and the time to revoke.
//!
//! Snapshots, streams and the measured requests share one thread, as a worker thread of the gateway would at worst.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use admission::ports::{Cause, Clock, Mandate, Moment, Revocations, Standing, Watch};
use admission::token::Anchors;
use backends::pem::PemTls;
use backends::postgres::{PostgresConfig, PostgresConnector, SslMode};
use backends::redis::{RedisConfig, RedisConnector, RedisServers};
use backends::revocation::{RevocationConfig, RevocationState, Snapshots, StreamReader, StreamsKey};
use clap::Args;
use testkit::postgres::Database;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::announcer::{Anchor, Announcer};
use crate::clock::SystemClock;
use crate::cpu;
use crate::failure::Result;
use crate::latency::Latencies;
use crate::memory::Resident;
use crate::servers::Servers;

/// Time between two requests of the open loop.
const TICK: Duration = Duration::from_millis(1);
/// The longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(60);
const SECRET: [u8; 32] = [42; 32];

/// What to hold and to revoke.
#[derive(Args, Clone, Debug)]
pub(crate) struct Plan {
    /// Revoked anchors in the database, a third of each kind, over 20 zones.
    #[arg(long, default_value_t = 1_000_000)]
    pub(crate) anchors: usize,
    /// Requests that are watched while one after the other is revoked.
    #[arg(long, default_value_t = 10_000)]
    pub(crate) watches: usize,
    /// How many of them are revoked.
    #[arg(long, default_value_t = 2_000)]
    pub(crate) revocations: usize,
}

/// Runs it all; the second value tells whether the state held what it should.
pub(crate) async fn run(servers: &Servers, plan: &Plan) -> Result<(String, bool)> {
    fill(servers.database(), plan.anchors, "'zone-' || n % 20").await;
    // Away from the stores, which have a machine of their own in an installation.
    cpu::pin(cpu::MEASURED)?;
    let clock = Arc::new(SystemClock);
    let config = RevocationConfig {
        snapshot_every: PATIENCE * 60,
        max_anchors: plan.anchors + plan.revocations,
        max_zone_anchors: plan.anchors + plan.revocations,
        max_watches: plan.watches + 10,
        ..RevocationConfig::default()
    };
    let state = RevocationState::new(config, Arc::clone(&clock) as _);
    let snapshots = Snapshots::new(&state, database(servers.database())?);
    let key = StreamsKey::new(&SECRET);
    let streams = StreamReader::new(&state, redis(&servers.redis_url())?, key, Box::new(|_| {}));
    let process = std::process::id();
    let before = Resident::of(process)?;
    let quiet = requests(&state, &*clock, tokio::time::sleep(Duration::from_secs(1))).await?;
    let mut tasks = JoinSet::new();
    tasks.spawn(snapshots.run(CancellationToken::new()));
    tasks.spawn(streams.run(CancellationToken::new()));

    let (first, first_took) = reload(&state, &*clock).await?;
    let (again, again_took) = reload(&state, &*clock).await?;
    let after = Resident::of(process)?;
    let held = state.status().anchors;
    let woken = revoke(&state, servers, plan).await?;

    let bytes = (after.anonymous.saturating_sub(before.anonymous) * 1024) as f64;
    let mut text = String::new();
    writeln!(text, "anchors held                    {held}")?;
    writeln!(
        text,
        "memory of the state             {:.1} MB, {:.0} bytes each",
        bytes / 1e6,
        bytes / held.max(1) as f64
    )?;
    writeln!(
        text,
        "                                p50 / p99 / p99.9 / greatest, ms"
    )?;
    let first_name = format!("first snapshot, {:.1} s", first_took.as_secs_f64());
    let again_name = format!("the same again, {:.1} s", again_took.as_secs_f64());
    for (name, latencies) in [
        ("watch and standing, quiet", &quiet.waited),
        (&first_name, &first.waited),
        (&again_name, &again.waited),
        ("thread in use before, quiet", &quiet.held_up),
        (&first_name, &first.held_up),
        (&again_name, &again.held_up),
        (&format!("XADD to wake, of {} watches", plan.watches), &woken),
    ] {
        let greatest = latencies.quantile(1.0).as_secs_f64() * 1e3;
        writeln!(text, "{name:<32}{} / {greatest:.2}", latencies.quantiles())?;
    }
    Ok((text, held == plan.anchors))
}

/// Writes revoked rows, of the zones that this expression names for their numbers `n`.
pub(crate) async fn fill(database: &Database, anchors: usize, zone: &str) {
    for (number, insert) in [
        format!(
            "authority_records (id, zone_id, session_type, status, expires_at) \
             SELECT gen_random_uuid(), {zone}, 'application', 'revoked', now() + interval '1 hour'"
        ),
        format!(
            "sessions (id, zone_id, application_id, subject_authority_record_id, status, ttl_seconds, terminated_at) \
             SELECT gen_random_uuid(), {zone}, 'app', 'record', 'terminated', 3600, now()"
        ),
        format!(
            "delegation_edges (id, zone_id, source_session_id, target_session_id, issuer_application_id, \
             receiver_application_id, status, expires_at, revoked_at) \
             SELECT gen_random_uuid(), {zone}, 'one', 'two', 'app', 'app', 'revoked', now() + interval '1 hour', now()"
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let rows = (anchors + 2 - number) / 3;
        database
            .execute(&format!("INSERT INTO {insert} FROM generate_series(1, {rows}) n"))
            .await;
    }
}

/// Takes a snapshot under requests; also how long it took.
async fn reload(state: &RevocationState, clock: &dyn Clock) -> Result<(Requests, Duration)> {
    let began = clock.now().monotonic;
    let reloads = state.counters().reloads;
    let loaded = async {
        // It may take longer than `reload` waits.
        let _ = state.reload().await;
        let mut look = interval(TICK);
        while state.counters().reloads == reloads
            || state.status().snapshot_age > Some(clock.now().monotonic - began)
        {
            look.tick().await;
        }
    };
    let requests = requests(state, clock, loaded).await?;
    Ok((requests, clock.now().monotonic - began))
}

/// How long requests took.
struct Requests {
    /// From the time at which each was due to its answer; on a busy machine that says more of the machine.
    waited: Latencies,
    /// The CPU time of this thread since the request before: what the state's own work can hold a request up by.
    held_up: Latencies,
}

/// Requests of an open loop until something happens.
async fn requests(
    state: &RevocationState,
    clock: &dyn Clock,
    until: impl Future<Output = ()>,
) -> Result<Requests> {
    let (mut waited, mut held_up) = (Latencies::new()?, Latencies::new()?);
    let mut due = interval(TICK);
    due.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut until = std::pin::pin!(timeout(PATIENCE, until));
    let mut used = cpu::of_this_thread();
    loop {
        tokio::select! {
            done = &mut until => {
                done.map_err(|_| "a snapshot took too long")?;
                return Ok(Requests { waited, held_up });
            }
            due = due.tick() => {
                held_up.record(cpu::of_this_thread().saturating_sub(used));
                let anchors = anchors("somebody");
                let watch = state.watch(&of(&anchors)).map_err(words)?;
                let _ = standing(state, &anchors, clock);
                drop(watch);
                waited.record(due.elapsed());
                used = cpu::of_this_thread();
            }
        }
    }
}

/// Revokes one watched request after the other: from before the message is written to the wake.
async fn revoke(state: &RevocationState, servers: &Servers, plan: &Plan) -> Result<Latencies> {
    let mut announcer = Announcer::new(servers.redis().await, SECRET);
    let names: Vec<_> = (0..plan.watches)
        .map(|number| anchors(&number.to_string()))
        .collect();
    let watches: Vec<Arc<dyn Watch>> = names
        .iter()
        .map(|ids| state.watch(&of(ids)).map_err(words))
        .collect::<Result<_>>()?;
    let mut latencies = Latencies::new()?;
    for (ids, watch) in names.iter().zip(&watches).take(plan.revocations) {
        let began = crate::clock::now();
        announcer.revoke(Anchor::Edge, &ids[3], "zone-1").await?;
        timeout(PATIENCE, watch.revoked())
            .await
            .map_err(|_| "a watch never woke")?;
        latencies.record(began.elapsed());
    }
    Ok(latencies)
}

fn anchors(name: &str) -> [String; 4] {
    ["sid", "root", "session", "edge"].map(|part| format!("{part}-{name}"))
}

fn of(ids: &[String; 4]) -> Anchors<'_> {
    let [sid, root, session, edge] = ids;
    Anchors {
        sid: Some(sid),
        root_sid: Some(root),
        agent_session_id: Some(session),
        delegation_edge_id: Some(edge),
    }
}

fn standing(state: &RevocationState, ids: &[String; 4], clock: &dyn Clock) -> Standing {
    let now: Moment = clock.now();
    let issued = i64::try_from(now.unix.as_secs()).unwrap_or_default();
    let mandate = Mandate {
        zone: "zone-1",
        anchors: of(ids),
        issued_at: Some(issued),
        expires_at: issued + 900,
    };
    state.standing(&mandate, now)
}

fn words(cause: Cause) -> Box<dyn std::error::Error> {
    cause.to_string().into()
}

fn database(database: &Database) -> Result<PostgresConnector> {
    let config = PostgresConfig {
        client: database.gateway_url().parse()?,
        ssl_mode: SslMode::Prefer,
        tls: PemTls::default(),
        connect_timeout: PATIENCE,
        read_timeout: PATIENCE,
        max_lifetime: PATIENCE * 60,
    };
    PostgresConnector::new(&config).map_err(words)
}

fn redis(url: &str) -> Result<RedisConnector> {
    let config = RedisConfig {
        servers: RedisServers::Single(Box::new(url.parse()?)),
        tls: PemTls::default(),
        dial_timeout: PATIENCE,
        answer_timeout: PATIENCE,
    };
    RedisConnector::new(&config).map_err(words)
}
