//! What was found.

use std::fmt;

use serde::Serialize;

use super::MAX_FAULTS;

/// What events prove.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Events that were read, copies included.
    pub events: u64,
    /// Copies: events that were there with the same bytes.
    pub duplicates: u64,
    /// Events that are in no chain.
    pub unchained: u64,
    /// Events that are in an unbroken chain up to a checkpoint whose signature holds.
    pub proved: u64,
    /// Events in a chain that no such checkpoint covers, as yet.
    pub unproved: u64,
    /// Checkpoints that are there as they were sent to the anchor.
    pub anchored: u64,
    /// Whether the signatures of events were judged.
    pub signatures_judged: bool,
    /// Every chain of which there is an event.
    pub chains: Vec<ChainReport>,
    /// What is wrong, as far as it is described.
    pub faults: Vec<Fault>,
    /// How much is wrong.
    pub fault_count: u64,
}

impl Report {
    /// Whether there is no hole in what is there, and nothing that is wrong. Events that are not proved tell little.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.fault_count == 0
    }

    pub(super) fn fault(&mut self, fault: Fault) {
        self.fault_count += 1;
        if self.faults.len() < MAX_FAULTS {
            self.faults.push(fault);
        }
    }
}

/// What is there of one chain: the events of one process.
#[derive(Debug, Serialize)]
pub struct ChainReport {
    /// Its id.
    pub id: String,
    /// The key that its checkpoints are signed with, where one is known.
    pub key: Option<String>,
    /// Who says that it is this key.
    pub key_trust: KeyTrust,
    /// The first number that is there.
    pub first: u64,
    /// The last number that is there.
    pub last: u64,
    /// How many events are there.
    pub events: u64,
    /// How many of them are proved. Those behind the last checkpoint are not proved yet.
    pub proved: u64,
    /// How many checkpoints hold.
    pub checkpoints: u64,
    /// When the last checkpoint that holds was made.
    pub last_checkpoint: Option<String>,
    /// Whether the chain ends with a checkpoint that says that nothing follows. A process that runs, or was killed and has
    /// no successor yet, has none.
    pub is_complete: bool,
    /// The number of the last checkpoint that is there as it was sent to the anchor.
    pub anchored: Option<u64>,
}

/// Who says which key a chain's checkpoints are signed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyTrust {
    /// Whoever verifies.
    Given,
    /// The chain's first event alone: compare it with the gateway's log.
    Announced,
    /// Nobody: the first event is not there.
    Unannounced,
    /// Whoever verifies gave keys, and it is none of them.
    Foreign,
}

/// Something is missing, changed or forged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "fault", rename_all = "snake_case")]
pub enum Fault {
    /// The event cannot be read.
    Unreadable {
        /// What is wrong with it.
        why: String,
    },
    /// The event has no signature, or one that does not hold.
    Signature {
        /// The event's id.
        event: String,
        /// Which of the two.
        why: &'static str,
    },
    /// The event is in no chain.
    Unchained {
        /// The event's id.
        event: String,
    },
    /// Events that the process shipped are not there.
    Missing {
        /// The chain.
        chain: String,
        /// The first number that is missing.
        from: u64,
        /// The last one.
        to: u64,
    },
    /// Events were lost before they could be shipped; the process says so itself.
    Lost {
        /// The chain.
        chain: String,
        /// The first number that was never used.
        from: u64,
        /// The last one.
        to: u64,
    },
    /// The event names another one than the one before it: one of them is not what the process wrote.
    Link {
        /// The chain.
        chain: String,
        /// The event's number.
        seq: u64,
        /// The event's id.
        event: String,
        /// The id of the one before it that is there; none where it is the first.
        before: Option<String>,
    },
    /// Another event has this number too.
    Conflict {
        /// The chain.
        chain: String,
        /// The number.
        seq: u64,
    },
    /// A checkpoint does not hold.
    Checkpoint {
        /// The chain.
        chain: String,
        /// Its number.
        seq: u64,
        /// Why.
        why: &'static str,
    },
    /// Events stand behind the checkpoint that says that nothing follows.
    BehindEnd {
        /// The chain.
        chain: String,
        /// The first number behind it.
        from: u64,
        /// The last one.
        to: u64,
    },
    /// Among these are events that should be proved by now, or that are younger than now.
    Unproved {
        /// The chain.
        chain: String,
        /// The first such number.
        from: u64,
        /// The last one.
        to: u64,
    },
    /// The entry has another id than the event in it.
    Id {
        /// The event's id.
        event: String,
    },
    /// The chain's key is none of those that count, or not known.
    Key {
        /// The chain.
        chain: String,
        /// Which of the two.
        why: &'static str,
    },
    /// A checkpoint that was sent to the anchor is not the one that is there, or is none of a gateway.
    Anchored {
        /// The chain.
        chain: String,
        /// Its number.
        seq: u64,
        /// Why.
        why: &'static str,
    },
    /// What is said to have been sent to the anchor is no checkpoint.
    AnchoredLine {
        /// What is wrong with it.
        why: String,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { why } => write!(f, "an event cannot be read: {why}"),
            Self::Signature { event, why } => write!(f, "event {event}: {why}"),
            Self::Unchained { event } => write!(f, "event {event} is in no chain"),
            Self::Missing { chain, from, to } => write!(f, "chain {chain}: {} missing", Numbers(*from, *to)),
            Self::Lost { chain, from, to } => write!(
                f,
                "chain {chain}: {} lost before shipping, as the process itself says",
                Numbers(*from, *to)
            ),
            Self::Link {
                chain,
                seq,
                event,
                before,
            } => write!(
                f,
                "chain {chain}: event {seq} ({event}) names another event before it than the one that is there ({})",
                before.as_deref().unwrap_or("none")
            ),
            Self::Conflict { chain, seq } => {
                write!(f, "chain {chain}: two different events are number {seq}")
            }
            Self::Checkpoint { chain, seq, why } => {
                write!(f, "chain {chain}: checkpoint {seq} does not hold: {why}")
            }
            Self::BehindEnd { chain, from, to } => write!(
                f,
                "chain {chain}: {} behind the checkpoint that ends it",
                Numbers(*from, *to)
            ),
            Self::Unproved { chain, from, to } => write!(
                f,
                "chain {chain}: {} not proved by any checkpoint, for longer than is allowed",
                Numbers(*from, *to)
            ),
            Self::Id { event } => write!(f, "event {event}: its entry has another id"),
            Self::Key { chain, why } => write!(f, "chain {chain}: {why}"),
            Self::Anchored { chain, seq, why } => {
                write!(f, "chain {chain}: checkpoint {seq} of the anchor: {why}")
            }
            Self::AnchoredLine { why } => write!(f, "a line of the anchor cannot be read: {why}"),
        }
    }
}

/// `event 3 is` or `events 3 to 5 are`.
struct Numbers(u64, u64);

impl fmt::Display for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(from, to) = self;
        if from == to {
            write!(f, "event {from} is")
        } else {
            write!(f, "events {from} to {to} are")
        }
    }
}
