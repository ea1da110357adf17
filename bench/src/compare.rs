//! Two builds of the gateway in turns, under the same load and among the same servers: the ratio of their CPU per
//! request.

use std::ffi::OsString;
use std::fmt::{self, Write as _};
use std::time::Duration;

use clap::{Args, value_parser};

use crate::failure::Result;
use crate::load::Loop;
use crate::requests::Requests;
use crate::servers::Servers;
use crate::spread::Spread;
use crate::subject::Measured;
use crate::{cpu, gateway};

/// The longest that a turn may take; a run takes at most two of these per round.
const TURN_TIMEOUT: Duration = Duration::from_secs(300);
/// From this share on, work of others on the measured core is a disturbance of note.
const NOTEWORTHY: f64 = 0.05;

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
}

/// One turn of each build.
struct Round {
    /// CPU per request, in microseconds.
    this: f64,
    /// The same of the other build.
    other: f64,
    /// The greater share that others had of the measured core.
    foreign: f64,
}

impl Round {
    fn new(this: &Measured, other: &Measured) -> Self {
        let micros = |turn: &Measured| turn.per_request.as_secs_f64() * 1e6;
        Self {
            this: micros(this),
            other: micros(other),
            foreign: this.foreign_share.max(other.foreign_share),
        }
    }

    fn ratio(&self) -> f64 {
        self.this / self.other.max(1e-9)
    }
}

/// Runs the rounds and renders what was found. A request that is not answered as it should be ends the run.
pub(crate) async fn run(this: &[OsString], servers: &Servers, plan: &Plan) -> Result<String> {
    let other = gateway::command(&plan.against)?;
    let mut rounds = Vec::with_capacity(plan.rounds.into());
    for _ in 0..plan.rounds {
        let measured = turn(this, servers, plan).await?;
        rounds.push(Round::new(&measured, &turn(&other, servers, plan).await?));
    }
    let mut text = String::new();
    write(&mut text, plan, &rounds)?;
    Ok(text)
}

/// One load on a new process, so that neither build keeps the luck of one start.
async fn turn(command: &[OsString], servers: &Servers, plan: &Plan) -> Result<Measured> {
    let turn = async {
        let mut subject = gateway::start(command, servers).await?;
        let mut last = None;
        for count in [plan.warm_up, plan.requests] {
            let requests = Requests::mint(servers.stack(), usize::try_from(count)?)?;
            let measured = subject
                .load(&requests, plan.connections.into(), Loop::Closed)
                .await?;
            if let Some(why) = &measured.outcome.first_failure {
                return Err(format!(
                    "{command:?}: {} failed; the first: {why}",
                    measured.outcome.failed
                )
                .into());
            }
            last = Some(measured);
        }
        subject.child.stop().await?;
        last.ok_or_else(|| "no load".into())
    };
    match tokio::time::timeout(TURN_TIMEOUT, turn).await {
        Ok(measured) => measured,
        Err(_) => Err(format!("{command:?}: a turn took more than {TURN_TIMEOUT:?}").into()),
    }
}

fn write(text: &mut String, plan: &Plan, rounds: &[Round]) -> fmt::Result {
    writeln!(
        text,
        "## CPU per request of two builds in turns\n\nIn each turn a new process answers {} requests, closed loop over \
         {} connections, after {} unmeasured ones; it has core {} to itself, everything else is on core {}. The other \
         build is `{}`.\n\n| round | this build (µs) | other build (µs) | this / other |\n|---|---:|---:|---:|",
        plan.requests,
        plan.connections,
        plan.warm_up,
        cpu::MEASURED,
        cpu::OTHERS,
        plan.against,
    )?;
    for (round, number) in rounds.iter().zip(1..) {
        row(text, &number.to_string(), round.this, round.other, round.ratio())?;
    }
    let this = Spread::of(rounds.iter().map(|round| round.this));
    let other = Spread::of(rounds.iter().map(|round| round.other));
    let ratio = Spread::of(rounds.iter().map(Round::ratio));
    row(text, "min", this.min, other.min, ratio.min)?;
    row(text, "median", this.median, other.median, ratio.median)?;
    row(text, "max", this.max, other.max, ratio.max)?;
    writeln!(
        text,
        "\n- This build costs **{:.3}** of the other (median of the rounds; from {:.3} to {:.3}); cheapest turn by \
         cheapest turn, {:.3}.",
        ratio.median,
        ratio.min,
        ratio.max,
        this.min / other.min.max(1e-9)
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

fn row(text: &mut String, name: &str, this: f64, other: f64, ratio: f64) -> fmt::Result {
    writeln!(text, "| {name} | {this:.1} | {other:.1} | {ratio:.3} |")
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
        };
        let round = |this, other, foreign| Round { this, other, foreign };
        let rounds = [
            round(90.0, 100.0, 0.01),
            round(110.0, 100.0, 0.3),
            round(99.0, 90.0, 0.02),
        ];
        let mut text = String::new();
        write(&mut text, &plan, &rounds).unwrap();
        for expect in [
            "| 2 | 110.0 | 100.0 | 1.100 |",
            "| min | 90.0 | 90.0 | 0.900 |",
            "| median | 99.0 | 100.0 | 1.100 |",
            "| max | 110.0 | 100.0 | 1.100 |",
            "This build costs **1.100** of the other (median of the rounds; from 0.900 to 1.100); cheapest turn by cheapest turn, 1.000.",
            "up to 30 % of the measured core (median of the rounds: 2 %)",
        ] {
            assert!(text.contains(expect), "{expect}:\n{text}");
        }
        let mut quiet = String::new();
        write(&mut quiet, &plan, &rounds[..1]).unwrap();
        assert!(!quiet.contains("quiet machine"));
    }
}
