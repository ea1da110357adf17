//! Revoked anchors, and the announcement of new ones.

use std::collections::HashMap;

use parking_lot::Mutex;
use serde::Deserialize;
use tokio::sync::broadcast;

/// How long a revocation is remembered at least, in seconds: longer than any mandate lives.
const KEPT_SECONDS: u64 = 24 * 3600;
/// The most revocations remembered at a time.
const MAX_REVOCATIONS: usize = 65_536;
/// How many announcements a slow subscriber may lag behind before it loses the oldest.
const ANNOUNCED: usize = 4096;

/// What kind of record a mandate rests on, in the vocabulary of the revocation stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
pub enum AnchorKind {
    /// An authority record: `sid` and `root_sid` of a mandate.
    #[serde(rename = "session_id")]
    Session,
    /// A governed session.
    #[serde(rename = "agent_session_id")]
    AgentSession,
    /// A delegation edge.
    #[serde(rename = "delegation_edge_id")]
    DelegationEdge,
}

/// One revoked anchor.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Revocation {
    /// The kind of record.
    pub kind: AnchorKind,
    /// Its id.
    pub id: String,
    /// Its zone.
    pub zone: String,
}

/// The revocation was not recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RevokeError {
    /// The id or the zone is empty.
    #[error("a revocation needs an id and a zone")]
    Empty,
    /// Too many revocations within a day.
    #[error("no room for another revocation")]
    Full,
}

/// Every revocation of the last day, and earlier ones while there is room.
pub(crate) struct Revocations {
    /// Until when each is remembered.
    revoked: Mutex<HashMap<Revocation, u64>>,
    announce: broadcast::Sender<Revocation>,
}

impl Revocations {
    pub(crate) fn new() -> Self {
        Self {
            revoked: Mutex::default(),
            announce: broadcast::Sender::new(ANNOUNCED),
        }
    }

    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Revocation> {
        self.announce.subscribe()
    }

    /// Records a revocation, then announces it: whoever hears of it finds it in force.
    pub(crate) fn revoke(&self, revocation: Revocation, now: u64) -> Result<(), RevokeError> {
        if revocation.id.is_empty() || revocation.zone.is_empty() {
            return Err(RevokeError::Empty);
        }
        let mut revoked = self.revoked.lock();
        if revoked.len() >= MAX_REVOCATIONS {
            revoked.retain(|_, until| *until > now);
        }
        if revoked.len() >= MAX_REVOCATIONS {
            return Err(RevokeError::Full);
        }
        revoked.insert(revocation.clone(), now.saturating_add(KEPT_SECONDS));
        drop(revoked);
        let _ = self.announce.send(revocation); // nobody listening is fine
        Ok(())
    }

    pub(crate) fn contains(&self, zone: &str, kind: AnchorKind, id: &str) -> bool {
        let revoked = self.revoked.lock();
        !revoked.is_empty()
            && revoked.contains_key(&Revocation {
                kind,
                id: id.into(),
                zone: zone.into(),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge(id: &str) -> Revocation {
        Revocation {
            kind: AnchorKind::DelegationEdge,
            id: id.into(),
            zone: "z".into(),
        }
    }

    #[test]
    fn a_revocation_holds_in_its_zone_and_kind_only_and_is_announced() {
        let revocations = Revocations::new();
        let mut heard = revocations.subscribe();
        revocations.revoke(edge("e"), 100).unwrap();
        assert!(revocations.contains("z", AnchorKind::DelegationEdge, "e"));
        assert!(!revocations.contains("y", AnchorKind::DelegationEdge, "e"));
        assert!(!revocations.contains("z", AnchorKind::Session, "e"));
        assert_eq!(heard.try_recv().unwrap(), edge("e"));
        assert_eq!(revocations.revoke(edge(""), 100), Err(RevokeError::Empty));
    }

    #[test]
    fn marks_are_bounded_and_forgotten_after_a_day() {
        let revocations = Revocations::new();
        revocations.revoke(edge("first"), 0).unwrap();
        for n in 1..MAX_REVOCATIONS {
            revocations.revoke(edge(&n.to_string()), 10).unwrap();
        }
        assert_eq!(revocations.revoke(edge("more"), 10), Err(RevokeError::Full));
        revocations.revoke(edge("more"), KEPT_SECONDS).unwrap();
        assert!(!revocations.contains("z", AnchorKind::DelegationEdge, "first"));
        assert!(revocations.contains("z", AnchorKind::DelegationEdge, "1"));
    }

    #[test]
    fn revoking_again_keeps_the_later_mark() {
        let revocations = Revocations::new();
        revocations.revoke(edge("e"), 0).unwrap();
        revocations.revoke(edge("e"), 10).unwrap();
        revocations.revoke(edge("f"), KEPT_SECONDS).unwrap();
        assert!(revocations.contains("z", AnchorKind::DelegationEdge, "e"));
    }
}
