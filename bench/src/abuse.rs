//! What other callers notice of an abuser: their latency beside each kind of abuse, and the gateway's memory.
//!
//! The gateway has a core to itself. The abuser shares the other one with the generator, the STS, the upstream and the
//! stores, as a thread that all of these may interrupt, and keeps to a rate: what is measured is the gateway, and not who
//! gets a core first. Each kind is compared with a quiet load right before it.
//!
//! The abuser's thread has the scheduling policy `SCHED_IDLE`. With the lowest niceness alone it keeps the core for up to a
//! time slice while the STS or the upstream could run: with 10,000 slow connections, what others' requests waited for there
//! looked like a gateway that is five times slower.

mod abuser;
mod attack;

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use clap::Args;
use testkit::tls::{self, Ca};
use tokio::time::sleep;

use crate::connection::Connection;
use crate::cpu::{self, Cores};
use crate::failure::Result;
use crate::gateway;
use crate::load::{self, Loop, Outcome};
use crate::memory::{Peak, Resident};
use crate::requests::Requests;
use crate::servers::Servers;
use crate::state_streams::open_files;
use crate::stream_client::HOST;
use crate::subject::Subject;
use abuser::Abuser;
use attack::{Attack, Tls, attacks};

/// Other callers' p99 may be so many times the quiet one.
const MOST: f64 = 2.0;
/// Memory that the gateway may take besides what each connection of the abuser may cost, in KiB.
const SLACK_KIB: u64 = 32 * 1024;
/// Open files that the gateway keeps for other things than connections.
const RESERVED_FILES: usize = 512;
/// Places beside those of the abuser.
const OTHERS: usize = 100;
/// Connections of other callers.
const CALLERS: usize = 16;
/// From the abuser's first byte to the load beside it.
const RUN_UP: Duration = Duration::from_secs(2);

/// What to measure.
#[derive(Args, Clone, Debug)]
pub(crate) struct Plan {
    /// Requests a second of other callers.
    #[arg(long, default_value_t = 200)]
    rate: u32,
    /// Seconds of each load; some kinds of abuse go on until they have sent what they have to.
    #[arg(long, default_value_t = 10)]
    seconds: u32,
    /// The kinds to measure, by a part of their names [default: all].
    #[arg(long, value_name = "PART")]
    only: Option<String>,
}

/// One gateway, and how other callers reach it.
struct Door<'a> {
    subject: &'a Subject,
    ca: &'a Ca,
    is_secure: bool,
}

impl Door<'_> {
    async fn open(&self) -> io::Result<Connection> {
        match self.is_secure {
            false => Connection::open(self.subject.address).await,
            true => {
                let config = self.ca.client_config(&["http/1.1"]);
                let stream = tls::connect(self.subject.address, HOST, config).await?;
                Ok(Connection::over(stream))
            }
        }
    }

    async fn load(&self, servers: &Servers, plan: &Plan) -> Result<Outcome> {
        let requests = Requests::reusable(servers.stack(), (plan.rate * plan.seconds) as usize)?;
        let mode = Loop::Open {
            per_second: plan.rate,
        };
        load::run_over(async || self.open().await, &requests, CALLERS, mode).await
    }
}

/// Runs it all; the second value tells whether all is within its bounds.
pub(crate) async fn run(command: &[OsString], servers: &Servers, plan: &Plan) -> Result<(String, bool)> {
    let mut text = String::from(
        "| abuse | connections | units beside the load (1/s) | ended by the gateway | p99 quiet (ms) | p99 beside it (ms) | ratio | failed | \
         memory before / peak / bound (MiB) | core of the gateway (%) |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    let (ca, directory) = (Arc::new(Ca::new()), tempfile::tempdir()?);
    let files = ca.server(&[HOST]).write_to(directory.path());
    let secure = gateway::over_tls(&files);
    let mut good = true;
    // The gateway takes on a connection for every two files beside those that it keeps back, and others need places too.
    let most = open_files()?.saturating_sub(RESERVED_FILES) / 2;
    for mut attack in attacks(servers)? {
        attack.connections = attack.connections.min(most.saturating_sub(OTHERS));
        if plan.only.as_ref().is_some_and(|part| !attack.name.contains(part)) {
            continue;
        }
        let mut variables = vec![("MAX_CONNECTIONS", (attack.connections + OTHERS).to_string())];
        if attack.tls != Tls::No {
            variables.extend(secure.clone());
        }
        let subject = gateway::launch(command, servers, &variables).await?;
        good &= beside(servers, plan, subject, attack, &ca, &mut text).await?;
    }
    Ok((text, good))
}

/// Measures one kind.
async fn beside(
    servers: &Servers,
    plan: &Plan,
    subject: Subject,
    attack: Attack,
    ca: &Arc<Ca>,
    text: &mut String,
) -> Result<bool> {
    let door = Door {
        subject: &subject,
        ca,
        is_secure: attack.tls != Tls::No,
    };
    // The first requests fetch keys and fill pools.
    let warm = Plan {
        seconds: 2,
        ..plan.clone()
    };
    door.load(servers, &warm).await?;
    let quiet = door.load(servers, plan).await?;
    let (name, connections, bound, at_least) = (attack.name, attack.connections, attack.kib, attack.at_least);
    let before = Resident::of(subject.child.id())?.all;
    let peak = Peak::from_now_on(subject.child.id())?;
    let abuser = Abuser::start(subject.address, attack, Arc::clone(ca))?;
    sleep(RUN_UP).await;
    let sent = || abuser.done().units.load(Ordering::Relaxed);
    let (cores, before_it) = (Cores::now()?, sent());
    let mut loaded = door.load(servers, plan).await?;
    // An abuser whom the gateway does not let send is no reason to go on for good.
    let mut last = before_it;
    while sent() - before_it < at_least && sent() > last {
        last = sent();
        loaded.add(door.load(servers, plan).await?)?;
    }
    let busy = Cores::now()?.busy_since(&cores, cpu::MEASURED);
    let units = sent() - before_it;
    let ended = abuser.done().ended.load(Ordering::Relaxed);
    let opened = abuser.done().opened.load(Ordering::Relaxed);
    drop(abuser);
    let peak = peak.kib()?;
    subject.child.stop().await?;

    let (calm, busy_p99) = (quiet.latencies.quantile(0.99), loaded.latencies.quantile(0.99));
    let ratio = busy_p99.as_secs_f64() / calm.as_secs_f64().max(1e-9);
    let bound = before + SLACK_KIB + bound * connections as u64;
    let (ms, mib) = (
        |time: Duration| time.as_secs_f64() * 1e3,
        |kib: u64| kib as f64 / 1024.0,
    );
    writeln!(
        text,
        "| {name} | {connections} | {units} ({:.0}) | {ended} of {opened} | {:.2} | {:.2} | {ratio:.2} | {} | {:.0} / {:.0} / {:.0} | {:.0} |",
        units as f64 / loaded.wall.as_secs_f64(),
        ms(calm),
        ms(busy_p99),
        loaded.failed,
        mib(before),
        mib(peak),
        mib(bound),
        busy * 100.0,
    )?;
    if let Some(why) = quiet.first_failure.or(loaded.first_failure) {
        writeln!(text, "\nFAILED beside {name}: {why}\n")?;
    }
    Ok(ratio < MOST && quiet.failed + loaded.failed == 0 && peak <= bound && units >= at_least)
}
