//! One chain: what is there of it, and what that proves.

use std::collections::BTreeMap;

use super::Terms;
use super::event::{Checkpoint, Joined, Time};
use super::report::{ChainReport, Fault, KeyTrust, Report};
use crate::chain::{EventHash, Head, PublicKey};

const SECRET_GIVEN: &str = "the secret of its key was given instead of the public key, which `evidence key` prints; whoever saw \
                            the secret can make checkpoints";

/// What is there of a chain.
#[derive(Debug, Default)]
pub(super) struct Links {
    links: BTreeMap<u64, Link>,
    checkpoints: BTreeMap<u64, Box<Checkpoint>>,
    /// The key that the first event announces.
    announced: Option<PublicKey>,
    /// The checkpoints that were sent to an anchor.
    pub(super) anchored: BTreeMap<u64, EventHash>,
}

#[derive(Debug)]
struct Link {
    /// The event's id.
    id: Box<str>,
    hash: EventHash,
    prev: EventHash,
    at: Time,
}

/// What became of an event that was added.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Added {
    New,
    /// The same bytes were there.
    Again,
    /// Other bytes were there, and stay.
    Conflicting,
}

impl Links {
    pub(super) fn add(&mut self, id: Box<str>, joined: Joined, hash: EventHash) -> Added {
        let Joined {
            chain_id: _,
            seq,
            prev,
            occurred_at: at,
            announced,
            checkpoint,
        } = joined;
        if let Some(there) = self.links.get(&seq) {
            return if there.hash == hash {
                Added::Again
            } else {
                Added::Conflicting
            };
        }
        self.links.insert(seq, Link { id, hash, prev, at });
        // Nothing but the first event announces one, or whoever can add an event could change the key.
        if prev == EventHash::NONE && self.announced.is_none() {
            self.announced = announced;
        }
        self.checkpoints
            .extend(checkpoint.map(|checkpoint| (seq, checkpoint)));
        Added::New
    }

    /// Reports what this chain proves.
    pub(super) fn judge(self, id: &str, terms: &Terms, report: &mut Report) {
        let anchored = self.judge_anchored(id, report);
        let (Some((first, _)), Some((last, _))) = (self.links.first_key_value(), self.links.last_key_value())
        else {
            return;
        };
        let (key, trust) = self.key(&terms.trusted);
        let mut chain = ChainReport {
            id: id.to_owned(),
            key: key.map(|key| key.hex()),
            key_trust: trust,
            first: *first,
            last: *last,
            events: self.links.len() as u64,
            proved: 0,
            checkpoints: 0,
            last_checkpoint: None,
            is_complete: false,
            anchored,
        };
        let name = || id.to_owned();
        if trust == KeyTrust::Foreign {
            let why = match key {
                Some(key) if terms.trusted.iter().any(|given| given.is_secret_of(&key)) => SECRET_GIVEN,
                Some(_) => "its key is none of the given ones",
                None => "event 1 and every checkpoint are missing, so its key is not known",
            };
            report.fault(Fault::Key { chain: name(), why });
        }
        let sound = self.sound_checkpoints(id, (key, trust), report);
        let end = sound.iter().find(|(_, checkpoint)| checkpoint.is_final);
        if let Some((end, _)) = end.filter(|(end, _)| **end < *last) {
            let (from, to) = (end + 1, *last);
            report.fault(Fault::BehindEnd {
                chain: name(),
                from,
                to,
            });
        }
        let is_current = |checkpoint: &&Checkpoint| checkpoint.occurred_at.as_bytes() >= &terms.oldest[..];
        let is_late = !sound.values().any(is_current);
        // From the end: what a sound checkpoint proves reaches down to where something is missing or wrong.
        let mut is_proved = false;
        let mut overdue: Option<(u64, u64)> = None;
        for (seq, follows) in self.follows(id, report).into_iter().rev() {
            if let Some(checkpoint) = sound.get(&seq) {
                chain.checkpoints += 1;
                if chain.last_checkpoint.is_none() {
                    chain.last_checkpoint = Some(checkpoint.occurred_at.to_string());
                    chain.is_complete = seq == *last && checkpoint.is_final;
                }
                is_proved = true;
            }
            chain.proved += u64::from(is_proved);
            let at = &self.links[&seq].at;
            if !is_proved && ((is_late && at < &terms.oldest) || at > &terms.newest) {
                overdue = Some((seq, overdue.map_or(seq, |(_, to)| to)));
            }
            is_proved &= follows;
        }
        if let Some((from, to)) = overdue {
            report.fault(Fault::Unproved {
                chain: name(),
                from,
                to,
            });
        }
        report.proved += chain.proved;
        report.unproved += chain.events - chain.proved;
        report.chains.push(chain);
    }

    /// Compares what is there with what was sent to an anchor; the number of the last event that is there as it was sent.
    fn judge_anchored(&self, id: &str, report: &mut Report) -> Option<u64> {
        let last = self.links.last_key_value().map_or(0, |(last, _)| *last);
        let (mut newest, mut cut) = (None, None);
        for (seq, hash) in &self.anchored {
            let why = match self.links.get(seq) {
                Some(link) if link.hash == *hash => {
                    report.anchored += 1;
                    newest = Some(*seq);
                    continue;
                }
                Some(_) => "the one that is there is another one",
                None if *seq > last => {
                    cut = Some(*seq);
                    continue;
                }
                None => "it is not there",
            };
            let chain = id.to_owned();
            report.fault(Fault::Anchored {
                chain,
                seq: *seq,
                why,
            });
        }
        if let Some(to) = cut {
            let (chain, from) = (id.to_owned(), last + 1);
            report.fault(Fault::Missing { chain, from, to });
        }
        newest
    }

    /// The key that this chain's checkpoints must have.
    fn key(&self, trusted: &[PublicKey]) -> (Option<PublicKey>, KeyTrust) {
        let own = self.announced.or_else(|| {
            let checkpoint = self.checkpoints.values().next();
            checkpoint.map(|checkpoint| checkpoint.key)
        });
        let trust = match own {
            Some(key) if trusted.contains(&key) => KeyTrust::Given,
            _ if !trusted.is_empty() => KeyTrust::Foreign,
            _ if self.announced.is_some() => KeyTrust::Announced,
            _ => KeyTrust::Unannounced,
        };
        (own, trust)
    }

    /// The checkpoints that state what is there, signed with this key.
    fn sound_checkpoints(
        &self,
        id: &str,
        (key, trust): (Option<PublicKey>, KeyTrust),
        report: &mut Report,
    ) -> BTreeMap<u64, &Checkpoint> {
        let mut sound = BTreeMap::new();
        for (seq, checkpoint) in &self.checkpoints {
            let why = if trust == KeyTrust::Foreign {
                "it is signed with none of the given keys"
            } else if Some(checkpoint.key) != key {
                "it is signed with another key than the chain's"
            } else if !checkpoint.is_signed {
                "its signature does not hold"
            } else if checkpoint.head.seq + 1 != *seq
                || self.links.get(seq).map(|link| link.prev) != Some(checkpoint.head.hash)
            {
                "it does not state the event before it"
            } else {
                sound.insert(*seq, &**checkpoint);
                continue;
            };
            report.fault(Fault::Checkpoint {
                chain: id.to_owned(),
                seq: *seq,
                why,
            });
        }
        sound
    }

    /// For each event, in order, whether the one before it is there and is the one that it names; or no other was ever
    /// shipped in between.
    fn follows(&self, id: &str, report: &mut Report) -> Vec<(u64, bool)> {
        let (mut before, mut before_id) = (Head::START, None);
        let mut all = Vec::with_capacity(self.links.len());
        for (seq, link) in &self.links {
            let (is_next, is_named) = (*seq == before.seq + 1, link.prev == before.hash);
            let (chain, from, to) = (id.to_owned(), before.seq + 1, seq - 1);
            match (is_next, is_named) {
                (true, true) => {}
                (true, false) => report.fault(Fault::Link {
                    chain,
                    seq: *seq,
                    event: link.id.to_string(),
                    before: before_id.map(str::to_owned),
                }),
                (false, true) => report.fault(Fault::Lost { chain, from, to }),
                (false, false) => report.fault(Fault::Missing { chain, from, to }),
            }
            all.push((*seq, is_named));
            before = Head {
                seq: *seq,
                hash: link.hash,
            };
            before_id = Some(&*link.id);
        }
        all
    }
}
