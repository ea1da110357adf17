//! What a stream message asks for.

use std::borrow::Cow;

use super::anchor::Kind;
use super::signature::{Fields, Genuine, StreamsKey, judge};

/// The streams that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    Revocations,
    Agents,
    Delegations,
    Keys,
}

impl Stream {
    pub(super) const ALL: [Self; 4] = [Self::Revocations, Self::Agents, Self::Delegations, Self::Keys];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Revocations => "caracal.sessions.revoke",
            Self::Agents => "caracal.agents.lifecycle",
            Self::Delegations => "caracal.delegations.invalidate",
            Self::Keys => "caracal.keys.invalidate",
        }
    }
}

/// What to do about one message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Order<'a> {
    /// Not genuine: nothing.
    Drop,
    /// Genuine, but with two meanings: ask the database.
    Ambiguous,
    /// A revocation that names nothing.
    Nameless,
    /// Not for us.
    Ignore,
    /// Revoke these anchors; more may follow from it that only the database knows.
    Revoke {
        anchors: Vec<(Kind, Cow<'a, str>)>,
        cascades: bool,
    },
    /// Something is active again: ask the database.
    Resume,
    /// The signing keys of a zone have changed.
    RefetchKeys(&'a str),
}

/// Judges a message and reads what it asks for.
pub(super) fn read<'a>(key: &StreamsKey, stream: Stream, fields: &Fields<'a>) -> Order<'a> {
    match judge(key, stream.name(), fields) {
        Genuine::No => return Order::Drop,
        Genuine::Ambiguous => return Order::Ambiguous,
        Genuine::Yes => {}
    }
    let text = |name: &str| text(fields, name);
    let event = text("event").unwrap_or_default();
    match (stream, event) {
        (Stream::Revocations, _) => {
            let anchors = [
                (Kind::Record, text("session_id")),
                (Kind::Session, text("agent_session_id")),
                (Kind::Edge, text("delegation_edge_id").or_else(|| text("edge_id"))),
            ];
            revoke(anchors.into_iter(), false)
        }
        (Stream::Agents, "terminate" | "suspend") => {
            revoke([(Kind::Session, text("agent_session_id"))].into_iter(), false)
        }
        (Stream::Agents, "resume") => Order::Resume,
        // Edges below the revoked one are revoked with it, and only the database says which.
        (Stream::Delegations, "edge_revoke") => edges(text("edge_id"), text("edge_ids"), true),
        (Stream::Delegations, "edge_expire") => edges(text("edge_id"), text("edge_ids"), false),
        (Stream::Keys, _) => text("zone_id").map_or(Order::Nameless, Order::RefetchKeys),
        (Stream::Agents | Stream::Delegations, _) => Order::Ignore,
    }
}

fn revoke<'a>(anchors: impl Iterator<Item = (Kind, Option<&'a str>)>, cascades: bool) -> Order<'a> {
    let anchors: Vec<_> = anchors
        .filter_map(|(kind, id)| id.map(|id| (kind, id.into())))
        .collect();
    if anchors.is_empty() {
        Order::Nameless
    } else {
        Order::Revoke { anchors, cascades }
    }
}

/// Revokes an edge and a list of edges. Of a list that cannot be read only the database knows what was meant.
fn edges<'a>(one: Option<&'a str>, list: Option<&str>, cascades: bool) -> Order<'a> {
    let listed: Result<Vec<String>, _> = list.map_or(Ok(Vec::new()), serde_json::from_str);
    let (listed, cascades) = match listed {
        Ok(listed) if listed.iter().all(|id| !id.is_empty()) => (listed, cascades),
        _ if one.is_none() => return Order::Ambiguous,
        _ => (Vec::new(), true),
    };
    let ids = one
        .map(Cow::Borrowed)
        .into_iter()
        .chain(listed.into_iter().map(Cow::Owned));
    let anchors: Vec<_> = ids.map(|id| (Kind::Edge, id)).collect();
    match anchors.is_empty() {
        true => Order::Nameless,
        false => Order::Revoke { anchors, cascades },
    }
}

/// The zone that a message is about; empty where it does not say.
pub(super) fn zone<'a>(fields: &Fields<'a>) -> &'a str {
    text(fields, "zone_id").unwrap_or_default()
}

/// A field's text; the producers write an absent value as nothing or as `null`.
fn text<'a>(fields: &Fields<'a>, name: &str) -> Option<&'a str> {
    let text = std::str::from_utf8(fields.get(name.as_bytes())?).ok()?;
    (!text.is_empty() && text != "null").then_some(text)
}

#[cfg(test)]
mod tests;
