//! The kinds of revocation anchors.

use admission::token::Anchors;

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
    use super::{Kind, named};
    use admission::token::Anchors;

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
