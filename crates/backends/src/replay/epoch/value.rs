//! What stands in the key.
//!
//! ```text
//! caracal:gateway:replay-epoch = <id>.<replication id>.<lead>:<birth>:<run id>
//! ```
//!
//! Earlier builds wrote `<id>:<birth>:<run id>`. They take everything before the first colon for the id and compare what
//! follows the second one with the run id, so that both kinds read what the other one writes.
//!
//! In a cluster each shard has such a key, with `/<slots>` behind the run id: those whose marks it vouches for.

use super::slots::Slots;

/// Most seconds that `iat` may be ahead of this clock and still count.
pub(super) const MAX_LEAD: u64 = 30;
/// How many ranges of slots a note names.
const MAX_RANGES: usize = 32;

/// One value of the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Value {
    /// Random.
    pub(super) id: String,
    /// Mandates issued up to this Unix second may have been used before. 0 at first use.
    pub(super) birth: u64,
    /// How many seconds `iat` was ahead of a gateway's clock at most.
    pub(super) lead: u64,
    pub(super) history: History,
    /// None where there is no cluster.
    pub(super) slots: Option<Slots>,
}

/// Whose memory it is: another process, or another replication history, may hold other marks. A part that is not known
/// is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct History {
    /// `run_id`: changes with the process.
    pub(super) run: String,
    /// `master_replid`: changes with every promotion, also of a server that was the primary before.
    pub(super) replication: String,
}

impl Value {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, ':');
        let (named, birth, run) = (parts.next()?, parts.next()?, parts.next()?);
        let Name {
            id,
            replication,
            lead,
            ..
        } = Name::parse(named).filter(|_| !named.contains('/'))?;
        let (run, slots) = match run.split_once('/') {
            Some((run, slots)) => (run, Some(Slots::parse(slots)?)),
            None => (run, None),
        };
        Some(Self {
            id,
            birth: birth.parse().ok()?,
            lead,
            history: History {
                run: run.to_owned(),
                replication,
            },
            slots,
        })
    }

    pub(super) fn text(&self) -> String {
        let slots = self.slots.as_ref().map(|slots| format!("/{slots}"));
        let slots = slots.unwrap_or_default();
        format!("{}:{}:{}{slots}", self.name(), self.birth, self.history.run)
    }

    fn name(&self) -> String {
        format!("{}.{}.{}", self.id, self.history.replication, self.lead)
    }

    /// What is kept on disk of it. The birth, if there is one, stands in the place of the replication id, which no build
    /// reads from there.
    pub(super) fn note(&self) -> String {
        match self.birth {
            0 => self.name(),
            birth => format!("{}.{birth}.{}", self.id, self.lead),
        }
    }
}

/// The part before the first colon, or a note on disk: that of a shard has `/<slots>` behind it where slots were elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) id: String,
    replication: String,
    pub(super) lead: u64,
    /// Slots that a value may name that was born before they left.
    pub(super) away: Slots,
}

/// A note of a shard from which these slots were away. More ranges than a file has room for count as all slots.
pub(super) fn with_away(note: &str, away: &Slots) -> String {
    match away.ranges().take(MAX_RANGES + 1).count() {
        0 => note.to_owned(),
        1..=MAX_RANGES => format!("{note}/{away}"),
        _ => format!("{note}/{}", Slots::all()),
    }
}

impl Name {
    /// The birth that a note tells of. A replication id has 40 hexadecimal digits, which are no number of this size.
    pub(super) fn birth(&self) -> u64 {
        self.replication.parse().unwrap_or_default()
    }

    pub(super) fn with_lead(self, lead: u64) -> Self {
        Self { lead, ..self }
    }

    pub(super) fn note(&self) -> String {
        with_away(&self.bare(), &self.away)
    }

    /// The note without what was away.
    pub(super) fn bare(&self) -> String {
        format!("{}.{}.{}", self.id, self.replication, self.lead)
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let (text, away) = match text.split_once('/') {
            Some((text, away)) => (text, Slots::parse(away)?),
            None => (text, Slots::default()),
        };
        let mut parts = text.split('.');
        let id = parts.next().filter(|id| !id.is_empty())?;
        let (replication, lead) = match (parts.next(), parts.next(), parts.next()) {
            (None, ..) => ("", 0),
            (Some(replication), Some(lead), None) => (replication, lead.parse().ok()?),
            _ => return None,
        };
        let strange = |c: char| c == ':' || c.is_whitespace();
        (!text.contains(strange)).then(|| Self {
            id: id.to_owned(),
            replication: replication.to_owned(),
            lead: MAX_LEAD.min(lead),
            away,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Name, Slots, Value, with_away};

    #[test]
    fn value_survives_its_text_and_refuses_other_texts() {
        for text in [
            "id.repl.7:1790000000:run:with:colons",
            "id..0:0:",
            "id.repl.7:1790000000:run/0-5460,5462",
            "id..0:0:/",
        ] {
            assert_eq!(Value::parse(text).unwrap().text(), text);
        }
        for text in [
            "",
            "id",
            "id:soon:p",
            "id:1",
            ":1:r",
            "a.b:1:r",
            "a.b.c:1:r",
            "a.b.1.2:1:r",
            "a.b.1:1:r/x",
            "a.b.1:1:r/16384",
        ] {
            assert_eq!(Value::parse(text), None, "{text}");
        }
    }

    #[test]
    fn value_of_an_earlier_build_has_neither_replication_id_nor_lead() {
        let value = Value::parse("0a1b:1790000000:run").unwrap();
        assert_eq!(
            (value.id.as_str(), value.birth, value.lead),
            ("0a1b", 1_790_000_000, 0)
        );
        assert_eq!(
            (value.history.run.as_str(), value.history.replication.as_str()),
            ("run", "")
        );
        // What it reads back from us: id, birth and run id, each in its place.
        let ours = Value { lead: 3, ..value }.text();
        assert_eq!(
            ours.splitn(3, ':').collect::<Vec<_>>(),
            ["0a1b..3", "1790000000", "run"]
        );
    }

    #[test]
    fn note_names_slots_that_were_away_as_far_as_there_is_room() {
        let away = |text| Name::parse(text).unwrap().away;
        assert_eq!(away("id.900.3"), Slots::default());
        let slots = Slots::parse("5,7-9").unwrap();
        let note = with_away("id.900.3", &slots);
        assert_eq!((note.as_str(), away(&note)), ("id.900.3/5,7-9", slots));
        let scattered = Slots::of((0..33).map(|slot| slot * 2..=slot * 2));
        assert_eq!(with_away("id.900.3", &scattered), "id.900.3/0-16383");
        assert_eq!(Name::parse("id.900.3/x"), None);
    }

    #[test]
    fn name_is_one_word_and_its_lead_is_bounded() {
        assert_eq!(Name::parse("id.repl.99").unwrap().lead, 30);
        for text in ["", " ", "two words", "a:1:r", "a\n"] {
            assert_eq!(Name::parse(text), None, "{text}");
        }
    }
}
