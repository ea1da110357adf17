//! The report as Markdown.

use std::fmt::Write as _;
use std::time::Duration;

use super::kinds::KINDS;
use super::{Column, Findings, Turn, Who, bounds};
use crate::cpu;
use crate::latency::{Latencies, Quantiles};
use crate::memory::Resident;
use crate::requests::BODY;
use crate::spread::Spread;
use crate::subject::{Measured, NOTEWORTHY};

/// Above this share a core counts as full.
const FULL: f64 = 0.95;

/// Writes it; the second value tells whether every request was answered as it should.
pub(super) fn render(findings: &Findings<'_>) -> (String, bool) {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _infallible = write(&mut text, findings);
    let failed = findings.columns.iter().map(Column::failed).sum::<u64>();
    (text, failed == 0)
}

impl Findings<'_> {
    /// One of the columns, if it was measured.
    pub(super) fn column(&self, who: Who) -> Option<&Column> {
        self.columns.iter().find(|column| column.who == who)
    }
}

impl Column {
    fn spread<T: Copy + Default + PartialOrd>(&self, of: impl Fn(&Turn) -> T) -> Spread<T> {
        Spread::of(self.turns.iter().map(of))
    }

    fn median(&self, of: impl Fn(&Turn) -> f64) -> f64 {
        self.spread(of).median
    }

    /// The medians of the turns' quantiles.
    fn quantiles(&self, of: impl Fn(&Turn) -> &Latencies) -> String {
        let all = |share: fn(Quantiles) -> Duration| self.spread(|turn| share(of(turn).quantiles())).median;
        Quantiles {
            p50: all(|quantiles| quantiles.p50),
            p99: all(|quantiles| quantiles.p99),
            p999: all(|quantiles| quantiles.p999),
        }
        .to_string()
    }

    /// The medians of the turns' memory.
    fn memory(&self, of: impl Fn(&Turn) -> Resident) -> String {
        Resident {
            all: self.spread(|turn| of(turn).all).median,
            anonymous: self.spread(|turn| of(turn).anonymous).median,
        }
        .to_string()
    }

    fn loads(&self) -> Vec<&Measured> {
        let mut loads = Vec::new();
        for turn in &self.turns {
            loads.extend([&turn.closed, &turn.open]);
            loads.extend(&turn.kinds);
        }
        loads
    }

    fn failed(&self) -> u64 {
        self.loads().iter().map(|load| load.outcome.failed).sum()
    }
}

fn write(text: &mut String, findings: &Findings<'_>) -> std::fmt::Result {
    let (columns, plan) = (&findings.columns, findings.plan);
    writeln!(
        text,
        "## One core, {BODY}-byte answers, a fresh mandate with every request\n\n\
         Medians of {} rounds, in each of which every proxy is started anew and answers, after {} unmeasured requests, {} \
         in a closed loop over {} connections, and as many in an open loop at {}/s over up to {}; it has core {} to \
         itself, everything else is on core {}.\n",
        plan.rounds,
        plan.warm_up,
        plan.requests,
        plan.connections,
        findings.rate,
        plan.open_connections,
        cpu::MEASURED,
        cpu::OTHERS
    )?;
    let names: Vec<_> = columns.iter().map(|column| column.name.as_str()).collect();
    writeln!(text, "| | {} |", names.join(" | "))?;
    writeln!(text, "|---|{}", "---:|".repeat(columns.len()))?;
    for (name, cell) in ROWS {
        let cells: Vec<_> = columns.iter().map(|column| cell(column, findings)).collect();
        writeln!(text, "| {name} | {} |", cells.join(" | "))?;
    }
    writeln!(
        text,
        "\n| the gateway, closed loop | CPU per request (µs) |\n|---|---:|"
    )?;
    if let Some(gateway) = findings.column(Who::Gateway) {
        for (at, kind) in KINDS.iter().enumerate() {
            let of = |turn: &Turn| {
                turn.kinds
                    .get(at)
                    .map(|load| load.per_request)
                    .unwrap_or_default()
            };
            writeln!(text, "| {} | {} |", kind.name, range(gateway.spread(of)))?;
        }
    }
    writeln!(text)?;
    bounds::write(text, findings)?;
    remarks(text, findings)?;
    if let Some(profile) = &findings.profile {
        writeln!(text, "\n```\n{profile}\n```")?;
    }
    Ok(())
}

type Cell = fn(&Column, &Findings<'_>) -> String;

const ROWS: [(&str, Cell); 14] = [
    (
        "CPU per request, closed loop: median (least to greatest) (µs)",
        |c, _| range(c.spread(|turn| turn.closed.per_request)),
    ),
    (
        "a governed request in these: median of the rounds",
        |c, findings| {
            let gateway = findings.column(Who::Gateway);
            let ratios = gateway.map(|gateway| bounds::ratios(gateway, c));
            format!("{:.2}", Spread::of(ratios.into_iter().flatten()).median)
        },
    ),
    ("in ES256 verifications", |c, findings| {
        let turns = c.turns.iter().zip(&findings.curve);
        let ratios =
            turns.map(|(turn, one)| turn.closed.per_request.as_secs_f64() / one.as_secs_f64().max(1e-9));
        format!("{:.2}", Spread::of(ratios).median)
    }),
    ("CPU per request, open loop (µs)", |c, _| {
        range(c.spread(|turn| turn.open.per_request))
    }),
    ("requests per second, closed loop", |c, _| {
        format!("{:.0}", c.median(|turn| turn.closed.outcome.per_second()))
    }),
    ("one core full carries, by its CPU (requests/s)", |c, _| {
        let one = c.spread(|turn| turn.closed.per_request).median;
        format!("{:.0}", 1.0 / one.as_secs_f64().max(1e-9))
    }),
    ("latency, closed loop: p50 / p99 / p99.9 (ms)", |c, _| {
        c.quantiles(|turn| &turn.closed.outcome.latencies)
    }),
    ("latency from the intended start, open loop (ms)", |c, _| {
        c.quantiles(|turn| &turn.open.outcome.latencies)
    }),
    ("of which before it was sent (ms)", |c, _| {
        c.quantiles(|turn| &turn.open.outcome.lateness)
    }),
    ("from the start until it serves (ms)", |c, _| {
        let spread = c.spread(|turn| turn.ready.as_secs_f64() * 1e3);
        format!("{:.0} ({:.0} to {:.0})", spread.median, spread.min, spread.max)
    }),
    ("resident memory, idle (without program text) (MiB)", |c, _| {
        c.memory(|turn| turn.idle)
    }),
    ("resident memory, after load (MiB)", |c, _| {
        c.memory(|turn| turn.loaded)
    }),
    (
        "closed loop: core of the proxy, by the proxy / by others; other core, in all / generator (%)",
        |c, _| {
            let of = |share: fn(&Measured) -> f64| 100.0 * c.median(|turn| share(&turn.closed));
            format!(
                "{:.0} / {:.0}; {:.0} / {:.0}",
                of(|load| load.own_share),
                of(|load| load.foreign_share),
                of(|load| load.others_share),
                of(|load| load.generator_share)
            )
        },
    ),
    ("failed requests", |c, _| c.failed().to_string()),
];

/// What a reader has to know beside the figures, and before believing them.
fn remarks(text: &mut String, findings: &Findings<'_>) -> std::fmt::Result {
    writeln!(
        text,
        "\n- One ES256 verification: **{} µs** of CPU.",
        range(findings.verification.spread())
    )?;
    if let Some(gateway) = findings.column(Who::Gateway) {
        writeln!(
            text,
            "- Redis, for each request: {:.1} commands, {:.1} µs of CPU, {:.0} bytes to it and {:.0} from it, {:.0} bytes of \
             memory until its mark expires and its event is read and trimmed.",
            gateway.median(|turn| turn.redis.commands),
            gateway.median(|turn| turn.redis.micros),
            gateway.median(|turn| turn.redis.received),
            gateway.median(|turn| turn.redis.sent),
            gateway.median(|turn| turn.redis.memory)
        )?;
    }
    for column in &findings.columns {
        let name = &column.name;
        let own = column.median(|turn| turn.closed.own_share);
        if own < FULL {
            writeln!(
                text,
                "- {name} was not the bottleneck of the closed loop (its core {:.0} % full): the rate is what generator, \
                 STS, upstream and stores allow.",
                own * 100.0
            )?;
        }
        let foreign = column.spread(|turn| turn.closed.foreign_share.max(turn.open.foreign_share));
        if foreign.max > NOTEWORTHY {
            writeln!(
                text,
                "- Something else had up to {:.0} % of the core of {name} (median of the rounds: {:.0} %): run this on a \
                 quiet machine.",
                foreign.max * 100.0,
                foreign.median * 100.0
            )?;
        }
        let first = column
            .loads()
            .into_iter()
            .find_map(|load| load.outcome.first_failure.as_ref());
        if let Some(why) = first {
            writeln!(
                text,
                "- FAILED: {} requests through {name}; the first: {why}",
                column.failed()
            )?;
        }
    }
    Ok(())
}

/// In microseconds: the median, and the least and greatest where there are more.
fn range(spread: Spread<Duration>) -> String {
    let micros = |duration: Duration| duration.as_secs_f64() * 1e6;
    let (least, greatest) = (micros(spread.min), micros(spread.max));
    format!("{:.1} ({least:.1} to {greatest:.1})", micros(spread.median))
}
