//! Which nodes are named, and which were.

use std::collections::{BTreeMap, BTreeSet};

use super::{Host, MAX_NODES, View};

/// For how many rounds nobody who answers names a node before it is forgotten.
pub(super) const FORGET_AFTER: u32 = 30;

/// The nodes that are named by those that answer, and for some rounds those that were: a node that is silent may be cut off,
/// and the only one who answers may know of nobody, or be another cluster's by now.
#[derive(Default)]
pub(super) struct Named {
    /// By id and address. For how many rounds nobody has named it; none where somebody does.
    nodes: BTreeMap<(String, Host), Option<u32>>,
}

impl Named {
    /// Takes in what the nodes say that answer. While none does, nothing is forgotten.
    pub(super) fn hear(&mut self, views: &[&View]) {
        if views.is_empty() {
            return;
        }
        let said = views.iter().flat_map(|view| &view.nodes);
        let said: BTreeSet<(&str, Host)> = said
            .map(|node| (node.id.as_str(), node.primary.address()))
            .collect();
        let ids: BTreeSet<&str> = said.iter().map(|(id, _)| *id).collect();
        let mut unnamed = 0;
        self.nodes.retain(|(id, host), rounds| {
            if said.contains(&(id.as_str(), host.clone())) {
                return true;
            }
            rounds.get_or_insert(0);
            unnamed += 1;
            // One that is named elsewhere has left.
            unnamed <= MAX_NODES && !ids.contains(id.as_str())
        });
        for (id, host) in said {
            self.nodes.insert((id.to_owned(), host), None);
        }
    }

    /// A round has passed, in which somebody answered. Returns whether a node is forgotten now.
    pub(super) fn pass_round(&mut self) -> bool {
        let before = self.nodes.len();
        self.nodes.retain(|_, rounds| {
            let Some(rounds) = rounds else { return true };
            *rounds += 1;
            *rounds < FORGET_AFTER
        });
        self.nodes.len() < before
    }

    /// Whether a node of this id is known, wherever it is.
    pub(super) fn holds(&self, id: &str) -> bool {
        let from = (id.to_owned(), Host::default());
        let next = self.nodes.range(from..).next();
        next.is_some_and(|((other, _), _)| other == id)
    }

    /// Where they are.
    pub(super) fn hosts(&self) -> BTreeSet<Host> {
        self.nodes.keys().map(|(_, host)| host.clone()).collect()
    }
}
