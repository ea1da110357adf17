//! The kinds of revocation anchors.

use std::fmt;

use admission::token::Anchors;
use uuid::Uuid;

/// What kind of thing a revocation names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An authority record: the claims `sid` and `root_sid`.
    Record,
    /// A governed session: the claim `agent_session_id`.
    Session,
    /// A delegation edge: the claim `delegation_edge_id`.
    Edge,
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::Record, Self::Session, Self::Edge];
}

/// The id of an anchor, exactly as it was spelled. A UUID in its usual spelling, which most are, takes no memory beside
/// this.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum AnchorId {
    /// In lower-case hexadecimal with hyphens.
    Uuid(Uuid),
    /// Everything else.
    Text(Box<str>),
}

impl From<&str> for AnchorId {
    fn from(text: &str) -> Self {
        let mut spelling = Uuid::encode_buffer();
        match Uuid::try_parse(text) {
            Ok(uuid) if uuid.hyphenated().encode_lower(&mut spelling) == text => Self::Uuid(uuid),
            _ => Self::Text(text.into()),
        }
    }
}

impl fmt::Display for AnchorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uuid(uuid) => uuid.hyphenated().fmt(f),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// One thing for each kind.
#[derive(Default)]
pub(super) struct PerKind<T> {
    pub(super) records: T,
    pub(super) sessions: T,
    pub(super) edges: T,
}

impl<T> PerKind<T> {
    pub(super) fn of(&self, kind: Kind) -> &T {
        match kind {
            Kind::Record => &self.records,
            Kind::Session => &self.sessions,
            Kind::Edge => &self.edges,
        }
    }
}

/// The anchors of a mandate, each once.
pub(super) fn named<'a>(anchors: &Anchors<'a>) -> impl Iterator<Item = (Kind, &'a str)> {
    let root = anchors.root_sid.filter(|root| anchors.sid != Some(root));
    [
        (Kind::Record, anchors.sid),
        (Kind::Record, root),
        (Kind::Session, anchors.agent_session_id),
        (Kind::Edge, anchors.delegation_edge_id),
    ]
    .into_iter()
    .filter_map(|(kind, id)| id.map(|id| (kind, id)))
}

#[cfg(test)]
mod tests {
    use super::{AnchorId, Kind, named};
    use admission::token::Anchors;

    #[test]
    fn ids_are_told_apart_as_they_are_spelled_and_take_24_bytes() {
        let uuid = "01975e0a-7c1b-7f3e-8a53-2f9d6c0b1e4d";
        let spellings = [
            uuid,
            &uuid.to_uppercase(),
            &uuid.replace('-', ""),
            &format!("{{{uuid}}}"),
            &format!("urn:uuid:{uuid}"),
            "sid-1",
            "",
        ];
        for (number, text) in spellings.into_iter().enumerate() {
            let id = AnchorId::from(text);
            assert_eq!(id.to_string(), text);
            assert_eq!(matches!(id, AnchorId::Uuid(_)), number == 0, "{text}");
            let same = spellings.iter().filter(|other| AnchorId::from(**other) == id);
            assert_eq!(same.count(), 1, "{text}");
        }
        assert_eq!(size_of::<AnchorId>(), 24);
    }

    #[test]
    fn anchors_are_named_once_each() {
        let mut anchors = Anchors {
            sid: Some("a"),
            root_sid: Some("a"),
            agent_session_id: Some("a"),
            delegation_edge_id: None,
        };
        let got: Vec<_> = named(&anchors).collect();
        assert_eq!(got, [(Kind::Record, "a"), (Kind::Session, "a")]);
        anchors.root_sid = Some("b");
        assert_eq!(named(&anchors).count(), 3);
        assert_eq!(named(&Anchors::default()).count(), 0);
    }
}
