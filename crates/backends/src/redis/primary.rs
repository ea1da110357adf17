//! Which server is primary, and for how long.

use tokio::sync::watch;

/// A server that is primary from one failover to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Primary {
    pub(super) host: String,
    pub(super) port: u16,
    /// The sentinels' configuration epoch.
    pub(super) epoch: u64,
}

/// What all of them say.
#[derive(Clone, Debug, Default)]
pub(super) struct Verdict {
    /// Each of them was asked at least once.
    pub(super) settled: bool,
    pub(super) primary: Option<Primary>,
}

/// The time during which one server is the named primary.
#[derive(Clone, Debug)]
pub(super) struct Term {
    primary: Primary,
    verdict: watch::Receiver<Verdict>,
}

impl Term {
    pub(super) fn new(primary: Primary, verdict: watch::Receiver<Verdict>) -> Self {
        Self { primary, verdict }
    }

    /// Completes when the sentinels name another server, or the same one after another failover.
    pub(super) async fn over(&self) {
        let mut verdict = self.verdict.clone();
        let over = verdict.wait_for(|verdict| verdict.primary.as_ref() != Some(&self.primary));
        if over.await.is_err() {
            // Nobody follows the sentinels any more: the process ends.
            std::future::pending::<()>().await;
        }
    }
}

/// The one with the highest epoch; among equals the one that is followed already.
pub(super) fn newest<'a>(
    named: impl Iterator<Item = &'a Primary> + Clone,
    followed: Option<&Primary>,
) -> Option<&'a Primary> {
    let epoch = named.clone().map(|primary| primary.epoch).max()?;
    let mut newest = named.filter(|primary| primary.epoch == epoch);
    let first = newest.clone().next();
    newest.find(|primary| Some(*primary) == followed).or(first)
}

#[cfg(test)]
mod tests {
    use super::{Primary, newest};

    fn primary(host: &str, epoch: u64) -> Primary {
        Primary {
            host: host.to_owned(),
            port: 6379,
            epoch,
        }
    }

    #[test]
    fn newest_failover_counts_and_a_tie_changes_nothing() {
        let (a1, b2, c2) = (primary("a", 1), primary("b", 2), primary("c", 2));
        assert_eq!(newest([].iter(), Some(&a1)), None);
        assert_eq!(newest([a1.clone(), b2.clone()].iter(), Some(&a1)), Some(&b2));
        assert_eq!(
            newest([b2.clone(), a1.clone()].iter(), Some(&b2)),
            Some(&b2),
            "a sentinel that lags"
        );
        assert_eq!(newest([b2.clone(), c2.clone()].iter(), Some(&c2)), Some(&c2));
        assert_eq!(newest([b2.clone(), c2].iter(), Some(&a1)), Some(&b2));
    }
}
