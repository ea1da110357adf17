//! Which server is primary: what follows from what the sentinels say.

use admission::ports::Cause;

use super::dialer::Host;

/// A server that is primary from one failover to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Primary {
    pub(super) host: String,
    pub(super) port: u16,
    /// The configuration epoch of sentinels or cluster.
    pub(super) epoch: u64,
}

impl Primary {
    pub(super) fn address(&self) -> Host {
        (self.host.clone(), self.port)
    }

    /// Whether it is the same server, in whichever epoch.
    pub(super) fn is_same_server(&self, other: &Self) -> bool {
        (&self.host, self.port) == (&other.host, other.port)
    }
}

/// What all of them say.
#[derive(Clone, Debug, Default)]
pub(super) struct Verdict {
    /// Each of them was asked at least once.
    pub(super) settled: bool,
    pub(super) primary: Option<Primary>,
}

/// What one sentinel says.
pub(super) enum View {
    /// It was not asked yet.
    Unasked,
    Names(Primary),
    /// It does not answer, or knows no such service.
    Silent(Cause),
}

/// What each sentinel says, and how far each had come.
pub(super) struct Views(Vec<(View, u64)>);

impl Views {
    pub(super) fn new(count: usize) -> Self {
        Self((0..count).map(|_| (View::Unasked, 0)).collect())
    }

    pub(super) fn of(&self, index: usize) -> &View {
        &self.0[index].0
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &View> + Clone {
        self.0.iter().map(|(view, _)| view)
    }

    fn named(&self) -> impl Iterator<Item = &Primary> + Clone {
        self.all().filter_map(|view| match view {
            View::Names(primary) => Some(primary),
            View::Unasked | View::Silent(_) => None,
        })
    }

    /// What follows from what this one says now, given the primary that is followed.
    ///
    /// A lower epoch than that of the followed primary comes from a sentinel that lags, for as long as those that know
    /// better are silent. Only where more than half of them say less than they did themselves have they been set up anew.
    pub(super) fn heard(&mut self, index: usize, view: View, followed: Option<&Primary>) -> Verdict {
        if let View::Names(primary) = &view {
            self.0[index].1 = self.0[index].1.max(primary.epoch);
        }
        self.0[index].0 = view;
        let newest = newest(self.named(), followed);
        let behind = |primary: &Primary| followed.is_some_and(|followed| primary.epoch < followed.epoch);
        let primary = match newest {
            Some(primary) if behind(primary) && !self.are_anew() => followed,
            // Without any sentinel the last word still holds.
            named => named.or(followed),
        };
        let verdict = Verdict {
            settled: !self.all().any(|view| matches!(view, View::Unasked)),
            primary: primary.cloned(),
        };
        if verdict.primary.as_ref().is_some_and(behind) {
            self.begin_anew();
        }
        verdict
    }

    /// What follows where the followed server says itself that it is a replica. It takes no marks, so nothing is given away by
    /// following what more than half of them name, whatever the epoch: those that know of a later failover may be gone.
    pub(super) fn denied(&mut self, followed: &Primary) -> Option<Primary> {
        let others = self.named().filter(|named| !named.is_same_server(followed));
        let other = newest(others.clone(), None)?.clone();
        let agree = others.filter(|named| named.is_same_server(&other)).count();
        (agree > self.0.len() / 2).then(|| {
            self.begin_anew();
            other
        })
    }

    /// Whether more than half of them went back in their epochs.
    fn are_anew(&self) -> bool {
        let went_back =
            |(view, highest): &&(View, u64)| matches!(view, View::Names(primary) if primary.epoch < *highest);
        self.0.iter().filter(went_back).count() > self.0.len() / 2
    }

    fn begin_anew(&mut self) {
        for (view, highest) in &mut self.0 {
            *highest = match view {
                View::Names(primary) => primary.epoch,
                View::Unasked | View::Silent(_) => 0,
            };
        }
    }
}

/// The one with the highest epoch; among equals the one that is followed already.
fn newest<'a>(
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
    use admission::ports::Cause;

    use super::{Primary, View, Views, newest};

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

    #[test]
    fn server_that_denies_to_be_primary_is_left_for_what_more_than_half_name() {
        let (a4, b5) = (primary("a", 4), primary("b", 5));
        let mut views = Views::new(3);
        views.heard(0, View::Names(b5.clone()), None);
        views.heard(0, View::Silent(Cause::new("gone for good")), Some(&b5));
        assert_eq!(
            views.heard(1, View::Names(a4.clone()), Some(&b5)).primary,
            Some(b5.clone())
        );
        assert_eq!(views.denied(&b5), None, "one of three is not enough");
        views.heard(2, View::Names(a4.clone()), Some(&b5));
        assert_eq!(views.denied(&a4), None, "nobody names another one");
        assert_eq!(views.denied(&b5), Some(a4.clone()));
        assert_eq!(
            views.heard(1, View::Names(a4.clone()), Some(&a4)).primary,
            Some(a4)
        );
    }

    /// Who is followed after each of these words: which sentinel, and what it names.
    fn followed(count: usize, words: &[(usize, Option<&Primary>)]) -> Vec<String> {
        let mut views = Views::new(count);
        let mut followed = None;
        let mut all = Vec::new();
        for (index, word) in words {
            let view = match word {
                Some(primary) => View::Names((*primary).clone()),
                None => View::Silent(Cause::new("silent")),
            };
            followed = views.heard(*index, view, followed.as_ref()).primary;
            all.push(
                followed
                    .as_ref()
                    .map_or_else(String::new, |primary| primary.host.clone()),
            );
        }
        all
    }

    #[test]
    fn sentinels_that_lag_do_not_lead_back_when_the_newer_ones_fall_silent() {
        let (a1, b2) = (primary("a", 1), primary("b", 2));
        let (a, b) = (Some(&a1), Some(&b2));
        assert_eq!(followed(2, &[(0, b), (1, a), (0, None), (1, a)]), ["b"; 4]);
        let most_lag = [(0, a), (1, a), (2, b), (2, None), (0, a), (1, a)];
        assert_eq!(followed(3, &most_lag), ["a", "a", "b", "b", "b", "b"]);
        assert_eq!(
            followed(3, &[(0, None), (1, None), (2, None), (0, a)]),
            ["", "", "", "a"]
        );
    }

    #[test]
    fn sentinels_that_were_set_up_anew_count_when_they_are_more_than_half() {
        let (a1, b2, c0, d1) = (primary("a", 1), primary("b", 2), primary("c", 0), primary("d", 1));
        let (a, b, c, d) = (Some(&a1), Some(&b2), Some(&c0), Some(&d1));
        let one_is_gone = [(0, b), (1, b), (2, b), (2, None), (0, c), (1, c), (0, d), (1, d)];
        assert_eq!(
            followed(3, &one_is_gone),
            ["b", "b", "b", "b", "b", "c", "d", "d"]
        );
        let one_restarts_without_its_memory = [(0, b), (1, a), (2, b), (2, None), (0, c), (1, a)];
        assert_eq!(followed(3, &one_restarts_without_its_memory), ["b"; 6]);
        assert_eq!(followed(1, &[(0, b), (0, c)]), ["b", "c"]);
        assert_eq!(followed(1, &[(0, b), (0, None), (0, c)]), ["b", "b", "c"]);
    }
}
