//! What the gateway is held to, as ratios within the run.

use std::fmt::Write as _;

use super::kinds::{KINDS, Limit};
use super::{Column, Findings, Turn, Who};
use crate::spread::Spread;
use crate::subject::Measured;

/// From the start until requests are served, with real stores.
const READY_MS: (f64, f64) = (40.0, 20.0);
/// Memory before the first request.
const IDLE_MIB: (f64, f64) = (15.0, 10.0);

/// One measure and its bounds.
struct Bound {
    name: String,
    seen: Spread<f64>,
    must: f64,
    aim: Option<f64>,
}

impl Bound {
    fn new(name: impl Into<String>, seen: impl Iterator<Item = f64>, must: f64, aim: Option<f64>) -> Self {
        Self {
            name: name.into(),
            seen: Spread::of(seen),
            must,
            aim,
        }
    }

    fn verdict(&self) -> &'static str {
        if self.aim.is_some_and(|aim| self.seen.median <= aim) {
            "aim reached"
        } else if self.seen.median <= self.must {
            "held"
        } else {
            "NOT held"
        }
    }
}

/// Writes the table.
pub(super) fn write(text: &mut String, findings: &Findings<'_>) -> std::fmt::Result {
    writeln!(
        text,
        "| held to | seen: median of the rounds (least to greatest) | must | aim | |\n|---|---:|---:|---:|---|"
    )?;
    for bound in bounds(findings) {
        let Spread { min, median, max } = bound.seen;
        let aim = bound.aim.map(|aim| format!("{aim}")).unwrap_or_default();
        writeln!(
            text,
            "| {} | {median:.2} ({min:.2} to {max:.2}) | {} | {aim} | {} |",
            bound.name,
            bound.must,
            bound.verdict()
        )?;
    }
    Ok(())
}

fn bounds(findings: &Findings<'_>) -> Vec<Bound> {
    let Some(gateway) = findings.column(Who::Gateway) else {
        return Vec::new();
    };
    let mut bounds = Vec::new();
    for (who, must, aim) in [(Who::HaProxy, 1.25, 1.0), (Who::Envoy, 0.8, 0.6)] {
        if let Some(other) = findings.column(who) {
            let name = format!("CPU of a governed request, to {}", other.name);
            bounds.push(Bound::new(name, ratios(gateway, other), must, Some(aim)));
        }
    }
    let nginx = findings.column(Who::Nginx);
    if let Some(nginx) = nginx {
        let curve = findings.curve.iter().map(|curve| curve.as_secs_f64() * 1e6);
        let turns = gateway.turns.iter().zip(&nginx.turns).zip(curve);
        let rest =
            turns.map(|((ours, theirs), curve)| (ours.closed.micros() - curve) / theirs.closed.micros());
        let name = format!(
            "the same without one verification, to a whole request of {}",
            nginx.name
        );
        bounds.push(Bound::new(name, rest, 3.3, Some(2.6)));
    }
    for (at, kind) in KINDS.iter().enumerate() {
        let own = move |turn: &Turn| turn.kinds.get(at).map(Measured::micros).unwrap_or_default();
        match (kind.limit, nginx) {
            (Limit::OfSingleUse(must, aim), _) => {
                let name = format!("{}, to a single-use one", kind.name);
                let seen = gateway.turns.iter().map(|turn| own(turn) / turn.closed.micros());
                bounds.push(Bound::new(name, seen, must, Some(aim)));
            }
            (Limit::OfNginx(must), Some(nginx)) => {
                let name = format!("{}, to a request of {}", kind.name, nginx.name);
                let turns = gateway.turns.iter().zip(&nginx.turns);
                let seen = turns.map(|(ours, theirs)| own(ours) / theirs.closed.micros());
                bounds.push(Bound::new(name, seen, must, None));
            }
            (Limit::OfNginx(_), None) => {}
            (Limit::Micros(must), _) => {
                let seen = gateway.turns.iter().map(own);
                bounds.push(Bound::new(format!("{} (µs)", kind.name), seen, must, None));
            }
        }
    }
    let ready = gateway.turns.iter().map(|turn| turn.ready.as_secs_f64() * 1e3);
    let idle = gateway.turns.iter().map(|turn| turn.idle.all as f64 / 1024.0);
    bounds.push(Bound::new(
        "start to ready, with real stores (ms)",
        ready,
        READY_MS.0,
        Some(READY_MS.1),
    ));
    bounds.push(Bound::new(
        "idle memory (MiB)",
        idle,
        IDLE_MIB.0,
        Some(IDLE_MIB.1),
    ));
    bounds
}

/// CPU per request of ours to theirs. Of each round, so that what slows the machine for a while slows both.
pub(super) fn ratios(ours: &Column, theirs: &Column) -> impl Iterator<Item = f64> {
    let turns = ours.turns.iter().zip(&theirs.turns);
    turns.map(|(ours, theirs)| ours.closed.micros() / theirs.closed.micros().max(1e-9))
}

#[cfg(test)]
mod tests {
    use super::Bound;

    #[test]
    fn median_decides_between_aim_bound_and_neither() {
        for (seen, expect) in [
            ([0.5, 0.9, 3.0], "aim reached"),
            ([0.5, 1.1, 3.0], "held"),
            ([0.5, 1.3, 3.0], "NOT held"),
        ] {
            let bound = Bound::new("x", seen.into_iter(), 1.25, Some(1.0));
            assert_eq!(bound.verdict(), expect);
        }
        let bound = Bound::new("x", [0.1].into_iter(), 1.25, None);
        assert_eq!(bound.verdict(), "held");
    }
}
