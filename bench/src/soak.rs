//! The long run: no error, no lost evidence, flat memory.

use std::ffi::OsString;
use std::fmt::Write as _;

use clap::Args;

use crate::failure::Result;
use crate::gateway;
use crate::load::Loop;
use crate::memory::Resident;
use crate::requests::Requests;
use crate::servers::Servers;

/// The run is cut into this many stretches; memory is read after each.
const STRETCHES: usize = 5;
/// From the end of the first stretch to the end of the last, memory may grow by this share..
const MAX_GROWTH: f64 = 0.05;
/// ..and by this much, in KiB.
const MAX_GROWTH_KIB: u64 = 1024;

/// How much to send.
#[derive(Args, Clone, Debug)]
pub(crate) struct Plan {
    /// Requests in all.
    #[arg(long, default_value_t = 50_000)]
    pub(crate) requests: usize,
    /// Keep-alive connections.
    #[arg(long, default_value_t = 32)]
    pub(crate) connections: usize,
}

/// Runs it and renders what was found; the second value tells whether all was well.
pub(crate) async fn run(command: &[OsString], servers: &Servers, plan: &Plan) -> Result<(String, bool)> {
    let mut subject = gateway::start(command, servers).await?;
    let mut text = String::from(
        "| requests | answered | failed | CPU per request (µs) | resident (MiB) |\n|---:|---:|---:|---:|---:|\n",
    );
    let idle = subject.resident()?;
    writeln!(text, "| 0 | 0 | 0 | | {idle} |")?;
    let (mut sent, mut answered, mut failures) = (0, 0, Vec::new());
    let mut memory = Vec::new();
    while sent < plan.requests {
        let count = plan.requests.div_ceil(STRETCHES).min(plan.requests - sent);
        let requests = Requests::mint(servers.stack(), count)?;
        let measured = subject.load(&requests, plan.connections, Loop::Closed).await?;
        let resident = subject.resident()?;
        sent += count;
        answered += measured.outcome.latencies.count();
        memory.push(resident);
        writeln!(
            text,
            "| {sent} | {answered} | {} | {:.1} | {resident} |",
            measured.outcome.failed,
            measured.micros()
        )?;
        failures.extend(measured.outcome.first_failure);
    }
    let status = subject.child.stop().await?;
    // At its end it ships what it has left.
    let evidence = match &mut subject.audit {
        Some(audit) => audit.evidence().await?,
        None => return Err("no evidence to read".into()),
    };

    let wanted = plan.requests as u64;
    let served = answered == wanted && failures.is_empty();
    let complete = [evidence.entries, evidence.events, evidence.executed] == [wanted; 3];
    let flat = is_flat(&memory);
    let verdict = |good: bool| if good { "ok" } else { "NOT OK" };
    writeln!(text, "\n- answers: {answered} of {wanted}: {}", verdict(served))?;
    for failure in failures {
        writeln!(text, "  - {failure}")?;
    }
    writeln!(
        text,
        "- evidence: {} entries, {} different events, {} different requests carried out: {}",
        evidence.entries,
        evidence.events,
        evidence.executed,
        verdict(complete)
    )?;
    writeln!(
        text,
        "- memory flat from the first stretch to the last: {}",
        verdict(flat)
    )?;
    writeln!(text, "- ended with {status}: {}", verdict(status.success()))?;
    Ok((text, served && complete && flat && status.success()))
}

/// Whether memory did not grow from the first reading to the last.
pub(crate) fn is_flat(memory: &[Resident]) -> bool {
    let (Some(first), Some(last)) = (memory.first(), memory.last()) else {
        return false;
    };
    let allowed = first.all as f64 * (1.0 + MAX_GROWTH) + MAX_GROWTH_KIB as f64;
    last.all as f64 <= allowed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_flat_within_a_twentieth_and_a_mebibyte() {
        let resident = |all| Resident { all, anonymous: 0 };
        for (first, last, flat) in [
            (20_000, 20_000, true),
            (20_000, 22_024, true),
            (20_000, 22_025, false),
            (20_000, 9, true),
        ] {
            let memory = [resident(first), resident(99_999), resident(last)];
            assert_eq!(is_flat(&memory), flat, "{first} {last}");
        }
        assert!(!is_flat(&[]));
    }
}
