//! What events prove: signatures, chains, checkpoints, gaps. Pure: the events come from anywhere, in any order of chains.

mod event;
mod links;
mod report;

use std::collections::BTreeMap;

use crate::chain::{EventHash, PublicKey, names_checkpoint};
use crate::signature::AuditKey;
use crate::timestamp;
pub use event::CheckpointPlace;
use event::{Event, Joined, Place, Time};
use links::Links;
pub use report::{ChainReport, Fault, KeyTrust, Report};

const NO_SIGNATURE: &str = "its signature is missing (what is in a spool is not signed yet)";
const NO_CHECKPOINT: &str = "it is no checkpoint of a chain";

/// The most faults that are described; the rest is only counted.
const MAX_FAULTS: usize = 1000;

/// Takes events, and says in the end what they prove.
///
/// Keeps some hundred bytes for each event that is in a chain, and nothing of the others.
#[derive(Debug, Default)]
pub struct Verifier {
    audit_key: Option<AuditKey>,
    terms: Terms,
    chains: BTreeMap<String, Links>,
    report: Report,
}

/// What counts as proof, and how long it may be missing.
#[derive(Debug)]
struct Terms {
    trusted: Vec<PublicKey>,
    /// Whether events may be in no chain.
    unchained: bool,
    /// What may not be proved, where the last checkpoint is older than this.
    oldest: Time,
    /// Nothing that is not proved is younger than this.
    newest: Time,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            trusted: Vec::new(),
            unchained: false,
            oldest: [0; timestamp::LENGTH],
            newest: [u8::MAX; timestamp::LENGTH],
        }
    }
}

impl Terms {
    /// Whether checkpoints with this key count.
    fn accepts(&self, key: &PublicKey) -> bool {
        self.trusted.is_empty() || self.trusted.contains(key)
    }
}

impl Verifier {
    /// Judges signatures where there is a key for them. Where checkpoint keys are given, no other one counts; else the one
    /// that a chain announces itself.
    #[must_use]
    pub fn new(audit_key: Option<AuditKey>, trusted: Vec<PublicKey>) -> Self {
        let mut verifier = Self {
            audit_key,
            terms: Terms {
                trusted,
                ..Terms::default()
            },
            ..Self::default()
        };
        verifier.report.signatures_judged = verifier.audit_key.is_some();
        verifier
    }

    /// A chain whose last checkpoint is older than `oldest` may have no unproved event from before that, and none from after
    /// `newest`, in Unix microseconds: where there are events a checkpoint is due every minute, and nothing else bounds what
    /// somebody may have added to the end of a chain. An event's time is that at which its request began.
    #[must_use]
    pub fn unproved_between(mut self, oldest: i64, newest: i64) -> Self {
        let text = |micros| {
            let mut text = Vec::with_capacity(timestamp::LENGTH);
            timestamp::write_rfc3339(&mut text, micros);
            text.first_chunk().copied().unwrap_or([0; timestamp::LENGTH])
        };
        (self.terms.oldest, self.terms.newest) = (text(oldest), text(newest));
        self
    }

    /// Events that are in no chain, such as those of builds that made none, are no fault.
    #[must_use]
    pub fn allow_unchained(mut self) -> Self {
        self.terms.unchained = true;
        self
    }

    /// Takes what should be an event and cannot be read at all: where it is, and why.
    pub fn add_unreadable(&mut self, why: String) {
        self.fault(Fault::Unreadable { why });
    }

    /// Takes an event: the id that its entry gives it, its exact bytes, and its signature where it has one.
    pub fn add(&mut self, id: &str, data: &[u8], signature: Option<&str>) {
        self.report.events += 1;
        let event = match event::read(data) {
            Ok(event) => event,
            Err(why) => return self.fault(Fault::Unreadable { why }),
        };
        if *id != *event.id {
            self.fault(Fault::Id {
                event: event.id.into(),
            });
            return;
        }
        if let Some(key) = &self.audit_key
            && !signature.is_some_and(|signature| key.verifies(data, signature))
        {
            self.fault(Fault::Signature {
                event: event.id.into(),
                why: signature.map_or(NO_SIGNATURE, |_| "its signature does not hold"),
            });
            return;
        }
        let Place::In(joined) = event.place else {
            self.report.unchained += 1;
            if !self.terms.unchained {
                self.fault(Fault::Unchained {
                    event: event.id.into(),
                });
            }
            return;
        };
        let (chain, seq) = (joined.chain_id.clone(), joined.seq);
        let links = self.chains.entry(chain.clone()).or_default();
        match links.add(event.id, joined, EventHash::of(data)) {
            links::Added::New => {}
            links::Added::Again => self.report.duplicates += 1,
            links::Added::Conflicting => self.fault(Fault::Conflict { chain, seq }),
        }
    }

    /// Takes a checkpoint that was sent to an anchor: its exact bytes. The events must have the same one in the same place.
    pub fn add_anchored(&mut self, data: &[u8]) {
        let joined = match event::read(data) {
            Ok(Event {
                place: Place::In(joined),
                ..
            }) => joined,
            Ok(_) => {
                return self.fault(Fault::AnchoredLine {
                    why: NO_CHECKPOINT.to_owned(),
                });
            }
            Err(why) => return self.fault(Fault::AnchoredLine { why }),
        };
        let (chain, seq) = (joined.chain_id, joined.seq);
        let why = match &joined.checkpoint {
            None => Some(NO_CHECKPOINT),
            Some(checkpoint) if !checkpoint.is_signed => Some("its signature does not hold"),
            Some(checkpoint) if !self.terms.accepts(&checkpoint.key) => {
                Some("its key is none of the given ones")
            }
            Some(_) => {
                let links = self.chains.entry(chain.clone()).or_default();
                let hash = EventHash::of(data);
                let known = *links.anchored.entry(seq).or_insert(hash);
                (known != hash).then_some("two different ones were sent to the anchor")
            }
        };
        if let Some(why) = why {
            self.fault(Fault::Anchored { chain, seq, why });
        }
    }

    fn fault(&mut self, fault: Fault) {
        self.report.fault(fault);
    }

    /// What all of it proves.
    #[must_use]
    pub fn finish(mut self) -> Report {
        for (id, links) in std::mem::take(&mut self.chains) {
            links.judge(&id, &self.terms, &mut self.report);
        }
        self.report
    }
}

/// Where an event stands in its chain, if it is a checkpoint that was signed. Nothing is judged.
#[must_use]
pub fn checkpoint_place(data: &[u8]) -> Option<CheckpointPlace> {
    if !names_checkpoint(data) {
        return None;
    }
    match event::read(data).ok()?.place {
        Place::In(Joined { chain_id, seq, .. }) => Some(CheckpointPlace { chain_id, seq }),
        Place::Outside => None,
    }
}

#[cfg(test)]
mod tests;
