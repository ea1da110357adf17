//! Whether the evidence is what the upstream saw: nothing missing, nothing invented, nothing twice.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::callers::Sent;
use super::events::Event;

/// What was seen from outside.
pub(super) struct Observed {
    /// What callers sent, in the order in which they did.
    pub(super) sent: Vec<Sent>,
    /// How many times bytes of each request reached the upstream.
    pub(super) seen: HashMap<String, u32>,
    /// The audit stream.
    pub(super) events: Vec<Event>,
    /// How many requests of one process can be between their mark and their first byte: its threads.
    pub(super) threads: usize,
}

/// What the evidence does not do as it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    /// The upstream has received bytes of the request, and no event says so.
    Missing,
    /// The upstream has seen nothing of the request, and an event says that it crossed.
    Invented,
    /// The request has more than one event, or one event has two texts.
    Doubled,
    /// The request was sent to the upstream twice.
    Repeated,
    /// Nobody has sent such a request.
    Foreign,
    /// An event of a connection stands before that of an earlier request of the same connection.
    Disordered,
    /// The signature does not hold, or the entry is none.
    Unsigned,
}

impl Fault {
    /// What it is called in the report.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Invented => "invented",
            Self::Doubled => "doubled",
            Self::Repeated => "sent twice",
            Self::Foreign => "of nobody",
            Self::Disordered => "out of order",
            Self::Unsigned => "unsigned",
        }
    }
}

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Different events by `evaluation_status`.
    pub(super) statuses: BTreeMap<String, usize>,
    /// Answers with status 200.
    pub(super) answered: usize,
    /// Requests that were marked as dispatched by a process that was killed before their first byte left. Their event is
    /// `interrupted`: what became of them, nobody can know from the spool.
    pub(super) marked: usize,
    /// Entries of the stream that are copies.
    pub(super) copies: usize,
    /// What is wrong, and with which request.
    pub(super) faults: Vec<(Fault, String)>,
}

/// Judges.
pub(super) fn judge(observed: &Observed) -> Verdict {
    let mut verdict = Verdict::default();
    let events = distinct(&observed.events, &mut verdict);
    let mut marked: HashMap<usize, Vec<&str>> = HashMap::new();
    for sent in &observed.sent {
        let id = sent.id.as_str();
        let arrived = observed.seen.get(id).copied().unwrap_or_default();
        let own = events.get(id).map(Vec::as_slice).unwrap_or_default();
        let mut fault = |fault| verdict.faults.push((fault, id.to_owned()));
        let crossed = own.iter().any(|(_, event)| event.decision == "allow");
        if own.len() > 1 {
            fault(Fault::Doubled);
        }
        if arrived > 1 {
            fault(Fault::Repeated);
        }
        if (arrived > 0 || sent.status == Some(200)) && !crossed {
            fault(Fault::Missing);
        }
        if arrived == 0 && crossed {
            if own.iter().all(|(_, event)| event.status == "interrupted") && sent.status.is_none() {
                marked.entry(sent.process).or_default().push(id);
            } else {
                fault(Fault::Invented);
            }
        }
        verdict.answered += usize::from(sent.status == Some(200));
    }
    for ids in marked.into_values() {
        verdict.marked += ids.len().min(observed.threads);
        let beyond = ids.into_iter().skip(observed.threads);
        let invented = beyond.map(|id| (Fault::Invented, id.to_owned()));
        verdict.faults.extend(invented);
    }
    foreign(observed, &events, &mut verdict);
    disordered(observed, &events, &mut verdict);
    verdict.faults.sort();
    verdict
}

/// The different events of each request, and where each came first.
type ByRequest<'a> = HashMap<&'a str, Vec<(usize, &'a Event)>>;

fn distinct<'a>(events: &'a [Event], verdict: &mut Verdict) -> ByRequest<'a> {
    let mut by_request = ByRequest::new();
    let mut texts = HashMap::new();
    for (position, event) in events.iter().enumerate() {
        if !event.signed {
            verdict.faults.push((Fault::Unsigned, event.request_id.clone()));
        }
        match texts.insert(event.id.as_str(), event.data.as_str()) {
            Some(text) if text == event.data => {
                verdict.copies += 1;
                continue;
            }
            Some(_) => verdict.faults.push((Fault::Doubled, event.request_id.clone())),
            None => {}
        }
        *verdict.statuses.entry(event.status.clone()).or_default() += 1;
        let own = by_request.entry(event.request_id.as_str()).or_default();
        own.push((position, event));
    }
    by_request
}

fn foreign(observed: &Observed, events: &ByRequest<'_>, verdict: &mut Verdict) {
    let sent: HashSet<_> = observed.sent.iter().map(|sent| sent.id.as_str()).collect();
    let seen = observed.seen.keys().map(String::as_str);
    let strange: HashSet<_> = events
        .keys()
        .copied()
        .chain(seen)
        .filter(|id| !sent.contains(id))
        .collect();
    let faults = strange.into_iter().map(|id| (Fault::Foreign, id.to_owned()));
    verdict.faults.extend(faults);
}

/// A connection of HTTP/1.1 is one task, which ends one request before it begins the next.
fn disordered(observed: &Observed, events: &ByRequest<'_>, verdict: &mut Verdict) {
    let mut last: HashMap<usize, usize> = HashMap::new();
    for sent in &observed.sent {
        let first = events.get(sent.id.as_str()).and_then(|own| own.first());
        let Some((position, _)) = first.filter(|(_, event)| !event.is_sum) else {
            continue;
        };
        let last = last.entry(sent.connection).or_default();
        if *position < *last {
            verdict.faults.push((Fault::Disordered, sent.id.clone()));
        }
        *last = *position.max(last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(id: &str, connection: usize, status: Option<u16>) -> Sent {
        Sent {
            id: id.to_owned(),
            process: 0,
            connection,
            status,
        }
    }

    fn event(request_id: &str, status: &str) -> Event {
        let allowed = ["executed", "upstream_error", "interrupted"].contains(&status);
        Event {
            id: format!("event-of-{request_id}"),
            request_id: request_id.to_owned(),
            decision: if allowed { "allow" } else { "deny" }.to_owned(),
            status: status.to_owned(),
            data: format!("{request_id} {status}"),
            is_sum: false,
            signed: true,
        }
    }

    fn judged(sent: Vec<Sent>, seen: &[&str], events: Vec<Event>) -> Vec<(Fault, String)> {
        let seen = seen.iter().map(|id| ((*id).to_owned(), 1)).collect();
        judge(&Observed {
            sent,
            seen,
            events,
            threads: 1,
        })
        .faults
    }

    #[test]
    fn evidence_that_says_what_the_upstream_saw_is_without_fault() {
        let observed = Observed {
            sent: vec![
                sent("served", 0, Some(200)),
                sent("cut", 1, None),
                sent("stayed", 2, None),
                sent("refused", 3, Some(503)),
                sent("replayed", 3, Some(401)),
                sent("marked", 4, None),
                sent("summed", 5, Some(503)),
                sent("later", 5, Some(200)),
            ],
            seen: ["served", "cut", "later"].map(|id| (id.to_owned(), 1)).into(),
            events: vec![
                event("served", "executed"),
                event("served", "executed"),
                event("cut", "interrupted"),
                event("stayed", "not_dispatched"),
                event("replayed", "anomaly"),
                event("marked", "interrupted"),
                event("later", "executed"),
                Event {
                    is_sum: true,
                    ..event("summed", "denied")
                },
            ],
            threads: 1,
        };
        let verdict = judge(&observed);
        assert_eq!(verdict.faults, []);
        assert_eq!((verdict.answered, verdict.marked, verdict.copies), (2, 1, 1));
        assert_eq!(verdict.statuses["interrupted"], 2);
    }

    fn one() -> Vec<Sent> {
        vec![sent("one", 0, None)]
    }

    fn two() -> Vec<Sent> {
        vec![sent("one", 0, None), sent("two", 0, None)]
    }

    fn assert_first(case: &str, found: &[(Fault, String)], fault: Fault, id: &str) {
        assert_eq!(found.first(), Some(&(fault, id.to_owned())), "{case}: {found:?}");
    }

    #[test]
    fn crossing_without_evidence_and_evidence_without_crossing_are_named() {
        let answered = vec![sent("one", 0, Some(200))];
        let denied = vec![event("one", "not_dispatched")];
        let executed = vec![event("one", "executed")];
        let both = vec![event("one", "interrupted"), event("two", "interrupted")];
        for (case, found, fault, id) in [
            ("no event", judged(one(), &["one"], vec![]), Fault::Missing, "one"),
            ("denied", judged(one(), &["one"], denied), Fault::Missing, "one"),
            ("answered", judged(answered, &[], vec![]), Fault::Missing, "one"),
            ("never left", judged(one(), &[], executed), Fault::Invented, "one"),
            // More than can have been between mark and byte.
            ("marked", judged(two(), &[], both), Fault::Invented, "two"),
        ] {
            assert_first(case, &found, fault, id);
        }
    }

    #[test]
    fn evidence_that_is_doubled_strange_unsigned_or_out_of_order_is_named() {
        let executed = || event("one", "executed");
        let another = Event {
            id: "another".to_owned(),
            ..executed()
        };
        let changed = Event {
            data: "changed".to_owned(),
            ..executed()
        };
        let unsigned = Event {
            signed: false,
            ..executed()
        };
        let turned = vec![event("two", "executed"), executed()];
        for (case, found, fault, id) in [
            (
                "two events",
                judged(one(), &["one"], vec![executed(), another]),
                Fault::Doubled,
                "one",
            ),
            (
                "two texts",
                judged(one(), &["one"], vec![executed(), changed]),
                Fault::Doubled,
                "one",
            ),
            (
                "of nobody",
                judged(vec![], &[], vec![event("one", "denied")]),
                Fault::Foreign,
                "one",
            ),
            (
                "turned",
                judged(two(), &["one", "two"], turned),
                Fault::Disordered,
                "two",
            ),
            (
                "unsigned",
                judged(one(), &["one"], vec![unsigned]),
                Fault::Unsigned,
                "one",
            ),
        ] {
            assert_first(case, &found, fault, id);
        }
    }
}
