//! Whether evidence outlives crashes: gateways are killed at random moments under load, and what the upstream saw is compared
//! with what the audit stream says.

mod callers;
mod events;
mod judge;
mod processes;
mod random;
mod setting;
mod upstream;

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::fmt::Write as _;
use std::num::NonZeroUsize;
use std::time::Duration;

use aws_lc_rs::rand;
use clap::Args;
use data_encoding::HEXLOWER;
use futures_util::future::try_join_all;
use futures_util::{StreamExt as _, TryFutureExt as _, TryStreamExt as _, stream};
use testkit::redis::PrivateRedis;
use tokio::time::sleep;

use callers::Callers;
use events::{Event, Events};
use judge::{Fault, Observed, Verdict, judge};
use processes::{Process, Processes};
use random::Random;
use setting::{Place, Setting, Troubles};

pub(crate) use upstream::Watched;

use crate::clock;
use crate::failure::Result;
use crate::servers::Servers;

/// How long delivery may lag behind the last answer.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(60);
/// Pause between two looks.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// Redis keeps what it has acknowledged when it is killed: what it writes is in the page cache by then.
const REDIS: &str = "appendonly yes\nappendfsync no\n";

/// How often, and how hard.
#[derive(Args, Clone, Debug)]
pub(crate) struct Plan {
    /// Processes to kill in all, spread over the settings.
    #[arg(long, default_value_t = 300)]
    pub(crate) kills: usize,
    /// What decides the moments and the requests; another one each time where none is given.
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Callers at a time.
    #[arg(long, default_value_t = 12)]
    pub(crate) callers: usize,
    /// The longest time for which a gateway serves before it is killed, in milliseconds.
    #[arg(long, default_value_t = 800)]
    pub(crate) longest_ms: u64,
    /// Settings that run at the same time.
    #[arg(long, default_value_t = 2)]
    pub(crate) at_once: usize,
    /// The settings to run, by a part of their name ("disk", "Redis up, always"); all where none is given.
    #[arg(long, default_value = "")]
    pub(crate) setting: String,
}

/// Runs it and renders what was found; the second value tells whether all was well.
pub(crate) async fn run(command: &[OsString], watched: Watched, plan: &Plan) -> Result<(String, bool)> {
    let seed = match plan.seed {
        Some(seed) => seed,
        None => u64::from_le_bytes(random_bytes()?),
    };
    let Watched {
        stack,
        seen,
        serving: _serving,
    } = watched;
    let servers = Servers::start(stack).await?;
    let settings: Vec<_> = Setting::all()
        .filter(|setting| setting.to_string().contains(&plan.setting))
        .collect();
    if settings.is_empty() {
        return Err(format!("there is no setting {:?}", plan.setting).into());
    }
    let run = Run {
        command,
        servers: &servers,
        seen,
        plan,
    };
    let mut text = format!("seed {seed}\n\n{HEAD}");
    let (mut good, mut details) = (true, String::new());
    let each = stream::iter(settings.iter().enumerate()).map(|(number, setting)| {
        let kills = plan.kills / settings.len() + usize::from(number < plan.kills % settings.len());
        let random = Random::new(seed, number as u64);
        let found = run.through(*setting, kills, random);
        found.map_err(move |error| format!("seed {seed}, {setting}: {error}"))
    });
    let found: Vec<_> = each.buffered(plan.at_once.max(1)).try_collect().await?;
    for (setting, found) in settings.iter().zip(found) {
        match found {
            Ok(found) => {
                good &= found.is_good();
                found.row(*setting, &mut text)?;
                found.details(*setting, &mut details)?;
            }
            Err(reason) => writeln!(text, "| {setting} | SKIPPED: {reason} |")?,
        }
    }
    Ok((text + &details, good))
}

const HEAD: &str = "| setting | kills | requests | answered 200 | upstream saw | executed | upstream_error | interrupted | \
    not_dispatched | other events | copies | marked, not seen | missing | invented | doubled | other faults |\n\
    |---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n";

/// What the settings share.
struct Run<'a> {
    command: &'a [OsString],
    servers: &'a Servers,
    seen: upstream::Seen,
    plan: &'a Plan,
}

impl Run<'_> {
    /// One setting, with a Redis of its own; or why this machine does not allow it.
    async fn through(
        &self,
        setting: Setting,
        kills: usize,
        mut random: Random,
    ) -> Result<std::result::Result<Found, String>> {
        let place = match Place::of(setting) {
            Ok(place) => place,
            Err(reason) => return Ok(Err(reason)),
        };
        let mut redis = PrivateRedis::start_configured(REDIS).await;
        let key = random_bytes::<32>()?;
        let variables = [
            ("REDIS_URL", redis.url()),
            ("AUDIT_HMAC_KEY", HEXLOWER.encode(&key)),
            // Each refusal has an event of its own.
            ("AUDIT_DENIALS_PER_SECOND", "1000000".to_owned()),
        ];
        let prefix = format!("{setting}-").replace([' ', ','], "");
        let callers = Callers::new(self.servers.stack(), prefix.clone());
        let mut processes =
            Processes::new(self.command, self.servers, &variables, &place, setting, &callers)?;
        let longest = Duration::from_millis(self.plan.longest_ms);
        let of_callers: Vec<_> = (0..self.plan.callers.max(1))
            .map(|_| Random::new(random.below(u64::MAX), 0))
            .collect();
        let calls = try_join_all(of_callers.into_iter().map(|random| callers.call(random)));
        let mut troubles = Troubles::new(setting, &place, &mut redis);
        let lives = async {
            let last = processes.run(kills, longest, &mut troubles, &mut random).await;
            callers.stop();
            last
        };
        let (last, calls) = tokio::join!(lives, calls);
        calls?;
        let last = processes.settle(last?, &mut troubles).await?;
        let killed = processes.killed;
        let seen = self.seen.of(&prefix);
        let events = delivered(&redis, &key, last, &seen).await?;
        let unproved = processes.unproved().await;
        let left = place.left()?.into_iter();
        let observed = Observed {
            sent: callers.into_sent(),
            seen,
            events,
            threads: std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
        };
        Ok(Ok(Found {
            killed,
            requests: observed.sent.len(),
            seen: observed.seen.len(),
            left: left.map(|path| path.display().to_string()).collect(),
            unproved,
            verdict: judge(&observed),
        }))
    }
}

/// Waits until there is an event of all that the upstream saw, or for a minute; then ends the gateway, which ships whatever
/// it has left, and returns the stream.
async fn delivered(
    redis: &PrivateRedis,
    key: &[u8],
    mut last: Process,
    seen: &HashMap<String, u32>,
) -> Result<Vec<Event>> {
    let mut redis = redis.connection().await;
    let mut events = Events::new(key);
    let mut missing: HashSet<_> = seen.keys().map(String::as_str).collect();
    let deadline = clock::now() + DELIVERY_TIMEOUT;
    loop {
        let before = events.read.len();
        events.read_on(&mut redis).await?;
        for event in events.read.get(before..).unwrap_or_default() {
            missing.remove(event.request_id.as_str());
        }
        if missing.is_empty() || clock::now() >= deadline {
            break;
        }
        sleep(POLL_INTERVAL).await;
    }
    last.end().await?;
    events.read_on(&mut redis).await?;
    Ok(events.read)
}

/// What one setting came to.
struct Found {
    killed: usize,
    requests: usize,
    seen: usize,
    /// What is left of the spool although all has ended well.
    left: Vec<String>,
    /// What is wrong with the chains of events.
    unproved: Vec<String>,
    verdict: Verdict,
}

impl Found {
    fn is_good(&self) -> bool {
        // A run in which nothing was served, or nothing cut, proves nothing.
        let status = |name| self.verdict.statuses.get(name).copied().unwrap_or_default();
        self.verdict.faults.is_empty()
            && self.left.is_empty()
            && self.unproved.is_empty()
            && status("executed") > 0
    }

    fn row(&self, setting: Setting, text: &mut String) -> Result<()> {
        let mut statuses = self.verdict.statuses.clone();
        let mut take = |name: &str| statuses.remove(name).unwrap_or_default();
        let known = [
            take("executed"),
            take("upstream_error"),
            take("interrupted"),
            take("not_dispatched"),
        ];
        let others: usize = statuses.values().sum();
        let faults = |kind| {
            self.verdict
                .faults
                .iter()
                .filter(|(fault, _)| *fault == kind)
                .count()
        };
        let named = [Fault::Missing, Fault::Invented, Fault::Doubled].map(faults);
        let rest = self.verdict.faults.len() - named.iter().sum::<usize>();
        let mut cells = vec![self.killed, self.requests, self.verdict.answered, self.seen];
        cells.extend(known);
        cells.extend([others, self.verdict.copies, self.verdict.marked]);
        cells.extend(named);
        cells.push(rest);
        let cells: Vec<_> = cells.iter().map(usize::to_string).collect();
        writeln!(text, "| {setting} | {} |", cells.join(" | "))?;
        Ok(())
    }

    fn details(&self, setting: Setting, text: &mut String) -> Result<()> {
        for (fault, id) in &self.verdict.faults {
            writeln!(text, "- {setting}: {}: {id}", fault.name())?;
        }
        for path in &self.left {
            writeln!(text, "- {setting}: left of the spool: {path}")?;
        }
        for line in &self.unproved {
            writeln!(text, "- {setting}: not proved: {line}")?;
        }
        if !self.verdict.statuses.contains_key("executed") {
            writeln!(text, "- {setting}: nothing was served")?;
        }
        Ok(())
    }
}

fn random_bytes<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes)?;
    Ok(bytes)
}
