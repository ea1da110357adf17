//! The report as Markdown.

use std::fmt::Write as _;
use std::time::Duration;

use crate::cpu;
use crate::memory::Resident;
use crate::requests::BODY;
use crate::subject::Measured;
use crate::verification::Verification;

/// A governed request may cost this many verifications.
const MAX_VERIFICATIONS: f64 = 3.0;
/// The gateway may hold this much memory when idle, in KiB.
const MAX_IDLE: u64 = 20 * 1024;
/// Above this share a core counts as full, and work of others as a disturbance of note.
const FULL: f64 = 0.95;
const NOTEWORTHY: f64 = 0.05;

/// One proxy's part of the report.
pub(crate) struct Column {
    /// Its name.
    pub(crate) name: String,
    /// Memory before the first request.
    pub(crate) idle: Resident,
    /// Memory after the last one.
    pub(crate) loaded: Resident,
    /// The closed loop.
    pub(crate) closed: Measured,
    /// The open loop.
    pub(crate) open: Measured,
}

/// Everything that was found.
pub(crate) struct Findings {
    /// Requests in each load.
    pub(crate) requests: usize,
    /// Connections of the closed loops.
    pub(crate) connections: usize,
    /// The most connections of the open loops.
    pub(crate) open_connections: usize,
    /// The rate of the open loops.
    pub(crate) rate: u32,
    /// The yardstick.
    pub(crate) verification: Verification,
    /// The gateway, then nginx.
    pub(crate) columns: Vec<Column>,
    /// What perf saw.
    pub(crate) profile: Option<String>,
}

/// Writes it.
pub(crate) fn render(findings: &Findings) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _infallible = write(&mut text, findings);
    text
}

fn write(text: &mut String, findings: &Findings) -> std::fmt::Result {
    let columns = &findings.columns;
    writeln!(
        text,
        "## One core, {BODY}-byte answers, a fresh mandate with every request\n"
    )?;
    writeln!(
        text,
        "{} requests closed loop over {} connections, {} open loop at {}/s over up to {}; the proxy has core {} to \
         itself, everything else is on core {}.\n",
        findings.requests,
        findings.connections,
        findings.requests,
        findings.rate,
        findings.open_connections,
        cpu::MEASURED,
        cpu::OTHERS
    )?;
    let names: Vec<_> = columns.iter().map(|column| column.name.as_str()).collect();
    writeln!(text, "| | {} |", names.join(" | "))?;
    writeln!(text, "|---|{}", "---:|".repeat(columns.len()))?;
    for (name, cell) in rows() {
        let cells: Vec<_> = columns.iter().map(cell).collect();
        writeln!(text, "| {name} | {} |", cells.join(" | "))?;
    }
    writeln!(text)?;
    verdict(text, findings)?;
    for column in columns {
        remarks(text, column)?;
    }
    if let Some(profile) = &findings.profile {
        writeln!(text, "\n```\n{profile}\n```")?;
    }
    Ok(())
}

type Cell = fn(&Column) -> String;

fn rows() -> [(&'static str, Cell); 13] {
    [
        ("CPU per request, closed loop (µs)", |c| {
            micros(c.closed.per_request)
        }),
        ("CPU per request, open loop (µs)", |c| micros(c.open.per_request)),
        ("requests per second, closed loop", |c| {
            format!("{:.0}", c.closed.outcome.per_second())
        }),
        ("one core full carries, by its CPU (requests/s)", |c| {
            format!("{:.0}", 1.0 / c.closed.per_request.as_secs_f64().max(1e-9))
        }),
        ("latency, closed loop: p50 / p99 / p99.9 (ms)", |c| {
            c.closed.outcome.latencies.quantiles().to_string()
        }),
        ("latency from the intended start, open loop (ms)", |c| {
            c.open.outcome.latencies.quantiles().to_string()
        }),
        ("of which before it was sent (ms)", |c| {
            c.open.outcome.lateness.quantiles().to_string()
        }),
        ("resident memory, idle (without program text) (MiB)", |c| {
            c.idle.to_string()
        }),
        ("resident memory, after load (MiB)", |c| c.loaded.to_string()),
        (
            "closed loop: core of the proxy, by the proxy / by others (%)",
            |c| {
                format!(
                    "{} / {}",
                    percent(c.closed.own_share),
                    percent(c.closed.foreign_share)
                )
            },
        ),
        ("closed loop: other core, in all / generator (%)", |c| {
            format!(
                "{} / {}",
                percent(c.closed.others_share),
                percent(c.closed.generator_share)
            )
        }),
        ("open loop: core of the proxy / other core (%)", |c| {
            format!("{} / {}", percent(c.open.own_share), percent(c.open.others_share))
        }),
        ("failed requests", |c| {
            (c.closed.outcome.failed + c.open.outcome.failed).to_string()
        }),
    ]
}

fn verdict(text: &mut String, findings: &Findings) -> std::fmt::Result {
    let spread = findings.verification.spread();
    let one = spread.median;
    writeln!(
        text,
        "- One ES256 verification: **{} µs** of CPU (slices from {} to {}).",
        micros(one),
        micros(spread.min),
        micros(spread.max)
    )?;
    let times = |column: &Column| column.closed.per_request.as_secs_f64() / one.as_secs_f64().max(1e-9);
    let Some(gateway) = findings.columns.first() else {
        return Ok(());
    };
    let held = |held: bool| if held { "held" } else { "NOT held" };
    writeln!(
        text,
        "- A governed request costs **{:.2} verifications**; at most {MAX_VERIFICATIONS:.0}: {}.",
        times(gateway),
        held(times(gateway) <= MAX_VERIFICATIONS)
    )?;
    if let Some(nginx) = findings.columns.get(1) {
        writeln!(
            text,
            "- Forwarding without a gate ({}) costs {:.2}.",
            nginx.name,
            times(nginx)
        )?;
    }
    writeln!(
        text,
        "- Idle memory at most {} MiB: {}.",
        MAX_IDLE / 1024,
        held(gateway.idle.all <= MAX_IDLE)
    )
}

/// What a reader has to know before believing the figures.
fn remarks(text: &mut String, column: &Column) -> std::fmt::Result {
    let name = &column.name;
    if column.closed.own_share < FULL {
        writeln!(
            text,
            "- {name} was not the bottleneck of the closed loop (its core {} % full, the other {} %): the rate is what \
             generator, STS, upstream and stores allow.",
            percent(column.closed.own_share),
            percent(column.closed.others_share)
        )?;
    }
    for (which, load) in [("closed", &column.closed), ("open", &column.open)] {
        if load.foreign_share > NOTEWORTHY {
            writeln!(
                text,
                "- Something else had {} % of the core of {name} during the {which} loop: run this on a quiet machine.",
                percent(load.foreign_share)
            )?;
        }
        failure(text, name, which, load)?;
    }
    Ok(())
}

fn failure(text: &mut String, name: &str, which: &str, load: &Measured) -> std::fmt::Result {
    match &load.outcome.first_failure {
        Some(why) => writeln!(
            text,
            "- FAILED: {} requests through {name} in the {which} loop; the first: {why}",
            load.outcome.failed
        ),
        None => Ok(()),
    }
}

fn micros(duration: Duration) -> String {
    format!("{:.1}", duration.as_secs_f64() * 1e6)
}

fn percent(share: f64) -> String {
    format!("{:.0}", share * 100.0)
}
