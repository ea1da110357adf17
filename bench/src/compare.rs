//! Two builds of the gateway in turns, under the same load and among the same servers: the ratios of their CPU per request
//! and of their latency.

use std::ffi::OsString;
use std::fmt::{self, Write as _};
use std::time::Duration;

use clap::{Args, value_parser};

use crate::failure::Result;
use crate::load::Loop;
use crate::requests::Requests;
use crate::servers::Servers;
use crate::spread::Spread;
use crate::subject::{Measured, NOTEWORTHY, Subject};
use crate::{cpu, gateway};

/// The longest that a turn may take; a run takes at most two of these per round.
const TURN_TIMEOUT: Duration = Duration::from_secs(300);

/// What to compare with, and how long.
#[derive(Args, Clone, Debug)]
pub(crate) struct Plan {
    /// The other build's command, split at white space; `serve` is added to it. A relative path counts from the
    /// root of the repository.
    #[arg(long, value_name = "COMMAND")]
    against: String,
    /// Turns of each build.
    #[arg(long, default_value_t = 9, value_parser = value_parser!(u16).range(1..=100))]
    rounds: u16,
    /// Requests that are measured in each turn.
    #[arg(long, default_value_t = 5_000, value_parser = value_parser!(u32).range(1..=100_000))]
    requests: u32,
    /// Requests before those.
    #[arg(long, default_value_t = 2_000, value_parser = value_parser!(u32).range(0..=100_000))]
    warm_up: u32,
    /// Keep-alive connections.
    #[arg(long, default_value_t = 32, value_parser = value_parser!(u16).range(1..=1_000))]
    connections: u16,
    /// Requests per second of the open loop, whose latency is compared [default: half of what the other build does in a
    /// closed one].
    #[arg(long)]
    rate: Option<u32>,
    /// Keep-alive connections of the open loop.
    #[arg(long, default_value_t = 256, value_parser = value_parser!(u16).range(1..=1_000))]
    open_connections: u16,
}

/// A closed loop and an open one.
struct Turn {
    closed: Measured,
    open: Measured,
}

/// One turn of each build.
struct Round {
    /// CPU per request, in microseconds.
    this: f64,
    /// The same of the other build.
    other: f64,
    /// The 99th percentile of the latency in the open loop, in milliseconds, and that of the other build.
    this_p99: f64,
    other_p99: f64,
    /// The greater share that others had of the measured core.
    foreign: f64,
}

impl Round {
    fn new(this: &Turn, other: &Turn) -> Self {
        let p99 = |turn: &Turn| turn.open.outcome.latencies.quantile(0.99).as_secs_f64() * 1e3;
        Self {
            this: this.closed.micros(),
            other: other.closed.micros(),
            this_p99: p99(this),
            other_p99: p99(other),
            foreign: [&this.closed, &this.open, &other.closed, &other.open]
                .into_iter()
                .map(|measured| measured.foreign_share)
                .fold(0.0, f64::max),
        }
    }

    fn ratio(&self) -> f64 {
        self.this / self.other.max(1e-9)
    }

    fn p99_ratio(&self) -> f64 {
        self.this_p99 / self.other_p99.max(1e-9)
    }
}

/// Runs the rounds and renders what was found. A request that is not answered as it should be ends the run.
pub(crate) async fn run(this: &[OsString], servers: &Servers, plan: &Plan) -> Result<String> {
    let other = gateway::command(&plan.against)?;
    let mut rate = plan.rate;
    let mut rounds = Vec::with_capacity(plan.rounds.into());
    for _ in 0..plan.rounds {
        let other = turn(&other, servers, plan, &mut rate).await?;
        rounds.push(Round::new(&turn(this, servers, plan, &mut rate).await?, &other));
    }
    let mut text = String::new();
    write(&mut text, plan, rate.unwrap_or_default(), &rounds)?;
    Ok(text)
}

/// Loads on a new process, so that neither build keeps the luck of one start. Where there is no rate yet, half of what it
/// does becomes the rate.
async fn turn(command: &[OsString], servers: &Servers, plan: &Plan, rate: &mut Option<u32>) -> Result<Turn> {
    let connections = plan.connections.into();
    let turn = async {
        let mut subject = gateway::start(command, servers).await?;
        load(&mut subject, servers, plan.warm_up, connections, Loop::Closed).await?;
        let closed = load(&mut subject, servers, plan.requests, connections, Loop::Closed).await?;
        let half = (closed.outcome.per_second() / 2.0) as u32;
        let mode = Loop::Open {
            per_second: *rate.get_or_insert(half.max(1)),
        };
        let open = load(
            &mut subject,
            servers,
            plan.requests,
            plan.open_connections.into(),
            mode,
        )
        .await?;
        subject.child.stop().await?;
        Ok(Turn { closed, open })
    };
    let turn = match tokio::time::timeout(TURN_TIMEOUT, turn).await {
        Ok(measured) => measured,
        Err(_) => Err(format!("a turn took more than {TURN_TIMEOUT:?}").into()),
    };
    turn.map_err(|error: Box<dyn std::error::Error>| format!("{command:?}: {error}").into())
}

/// One load, whose requests are all answered as they should be.
async fn load(
    subject: &mut Subject,
    servers: &Servers,
    count: u32,
    connections: usize,
    mode: Loop,
) -> Result<Measured> {
    let requests = Requests::mint(servers.stack(), usize::try_from(count)?)?;
    subject.load(&requests, connections, mode).await?.all_right()
}

fn write(text: &mut String, plan: &Plan, rate: u32, rounds: &[Round]) -> fmt::Result {
    writeln!(
        text,
        "## Two builds in turns\n\nIn each turn a new process answers, after {} unmeasured requests, {} in a closed loop over \
         {} connections, and as many in an open loop at {rate}/s over up to {}; it has core {} to itself, everything else \
         is on core {}. The other build is `{}`.\n\n\
         | round | CPU per request: this build (µs) | other build (µs) | this / other | \
         p99, open loop: this build (ms) | other build (ms) | this / other |\n\
         |---|---:|---:|---:|---:|---:|---:|",
        plan.warm_up,
        plan.requests,
        plan.connections,
        plan.open_connections,
        cpu::MEASURED,
        cpu::OTHERS,
        plan.against,
    )?;
    for (round, number) in rounds.iter().zip(1..) {
        row(text, &number.to_string(), |of| of(round))?;
    }
    let spread = |of: Column| Spread::of(rounds.iter().map(of));
    row(text, "min", |of| spread(of).min)?;
    row(text, "median", |of| spread(of).median)?;
    row(text, "max", |of| spread(of).max)?;
    let (ratio, p99) = (spread(Round::ratio), spread(Round::p99_ratio));
    writeln!(
        text,
        "\n- This build costs **{:.3}** of the other (median of the rounds; from {:.3} to {:.3}); cheapest turn by \
         cheapest turn, {:.3}.\n- Its p99 is **{:.2}** of the other's (median of the rounds; from {:.2} to {:.2}).",
        ratio.median,
        ratio.min,
        ratio.max,
        spread(|round| round.this).min / spread(|round| round.other).min.max(1e-9),
        p99.median,
        p99.min,
        p99.max
    )?;
    let foreign = Spread::of(rounds.iter().map(|round| round.foreign));
    if foreign.max > NOTEWORTHY {
        writeln!(
            text,
            "- Something else had up to {:.0} % of the measured core (median of the rounds: {:.0} %): run this on a \
             quiet machine.",
            foreign.max * 100.0,
            foreign.median * 100.0
        )?;
    }
    Ok(())
}

type Column = fn(&Round) -> f64;

/// A row, whose cells are what `cell` makes of each column.
fn row(text: &mut String, name: &str, cell: impl Fn(Column) -> f64) -> fmt::Result {
    writeln!(
        text,
        "| {name} | {:.1} | {:.1} | {:.3} | {:.2} | {:.2} | {:.2} |",
        cell(|round| round.this),
        cell(|round| round.other),
        cell(Round::ratio),
        cell(|round| round.this_p99),
        cell(|round| round.other_p99),
        cell(Round::p99_ratio)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_give_the_ratio_and_how_far_it_spreads() {
        let plan = Plan {
            against: "/old/gateway".into(),
            rounds: 3,
            requests: 10,
            warm_up: 0,
            connections: 1,
            rate: None,
            open_connections: 2,
        };
        let round = |this, other, foreign| Round {
            this,
            other,
            this_p99: this / 50.0,
            other_p99: 2.0,
            foreign,
        };
        let rounds = [
            round(90.0, 100.0, 0.01),
            round(110.0, 100.0, 0.3),
            round(99.0, 90.0, 0.02),
        ];
        let mut text = String::new();
        write(&mut text, &plan, 7, &rounds).unwrap();
        for expect in [
            "open loop at 7/s",
            "| 2 | 110.0 | 100.0 | 1.100 | 2.20 | 2.00 | 1.10 |",
            "| min | 90.0 | 90.0 | 0.900 | 1.80 | 2.00 | 0.90 |",
            "| median | 99.0 | 100.0 | 1.100 | 1.98 | 2.00 | 0.99 |",
            "| max | 110.0 | 100.0 | 1.100 | 2.20 | 2.00 | 1.10 |",
            "Its p99 is **0.99** of the other's",
            "This build costs **1.100** of the other (median of the rounds; from 0.900 to 1.100); cheapest turn by cheapest turn, 1.000.",
            "up to 30 % of the measured core (median of the rounds: 2 %)",
        ] {
            assert!(text.contains(expect), "{expect}:\n{text}");
        }
        let mut quiet = String::new();
        write(&mut quiet, &plan, 7, &rounds[..1]).unwrap();
        assert!(!quiet.contains("quiet machine"));
    }
}
