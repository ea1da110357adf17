//! What the database has told of, until it is read.

use parking_lot::Mutex;
use serde::Deserialize;
use tokio::sync::Notify;

use super::lookup::Key;

/// How many announced bindings wait to be read one by one. Of more, everything is read.
const MAX_ANNOUNCED: usize = 1024;

/// What waits to be read or sent. Never more than [`MAX_ANNOUNCED`] bindings.
#[derive(Default)]
pub(super) struct Changes {
    pending: Mutex<Pending>,
    told: Notify,
}

/// What the reader should do at once.
#[derive(Default)]
pub(super) struct Pending {
    /// Read everything again.
    pub(super) everything: bool,
    /// Read these, in the order in which they were announced.
    pub(super) announced: Vec<Announced>,
    /// Send this, when everything else is done.
    pub(super) probe: Option<Probe>,
    keys: usize,
}

/// What one statement changed, in the words of the triggers that `caracal-gateway migrate` makes.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Announced {
    /// The revision that it made: exactly one more than the one before.
    pub(super) revision: i64,
    /// Zones and resources.
    pub(super) changed: Vec<Key>,
}

/// A notification that the gateway sends to itself.
pub(super) struct Probe {
    pub(super) channel: String,
    pub(super) payload: String,
}

impl Changes {
    /// A notification came. One that does not say what changed means everything.
    pub(super) fn announce(&self, payload: &str) {
        match serde_json::from_str::<Announced>(payload) {
            Ok(announced) => self.tell(|pending| {
                pending.keys += announced.changed.len();
                pending.announced.push(announced);
                if pending.keys > MAX_ANNOUNCED || pending.announced.len() > MAX_ANNOUNCED {
                    pending.all_instead();
                }
            }),
            Err(_) => self.everything(),
        }
    }

    /// Everything should be read again.
    pub(super) fn everything(&self) {
        self.tell(Pending::all_instead);
    }

    /// The revision should be looked at.
    pub(super) fn look(&self) {
        self.tell(|_| ());
    }

    /// A notification should be sent.
    pub(super) fn probe(&self, probe: Probe) {
        self.tell(|pending| pending.probe = Some(probe));
    }

    fn tell(&self, change: impl FnOnce(&mut Pending)) {
        change(&mut self.pending.lock());
        self.told.notify_one();
    }

    /// Waits until something is told, and takes all of it.
    pub(super) async fn next(&self) -> Pending {
        self.told.notified().await;
        std::mem::take(&mut *self.pending.lock())
    }
}

impl Pending {
    fn all_instead(&mut self) {
        self.everything = true;
        self.announced = Vec::new();
        self.keys = 0;
    }

    /// Whether the database says that something changed.
    pub(super) fn changed(&self) -> bool {
        self.everything || !self.announced.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::{Announced, Changes, MAX_ANNOUNCED};

    #[tokio::test]
    async fn announced_rows_are_kept_in_order_and_anything_else_means_everything() {
        let changes = Changes::default();
        changes.announce(r#"{"revision": 7, "changed": [["z", "r"], ["z", "s"]]}"#);
        changes.announce(r#"{"revision": 8, "changed": [["z", "r"]]}"#);
        let pending = changes.next().await;
        let key = |resource: &str| ("z".to_owned(), resource.to_owned());
        let expect = [(7, vec![key("r"), key("s")]), (8, vec![key("r")])]
            .map(|(revision, changed)| Announced { revision, changed });
        assert!(!pending.everything);
        assert_eq!(pending.announced, expect);
        for payload in [
            "",
            "x",
            r#"{"revision": 9}"#,
            r#"{"revision": 9, "changed": null}"#,
        ] {
            changes.announce(r#"{"revision": 9, "changed": [["z", "r"]]}"#);
            changes.announce(payload);
            let pending = changes.next().await;
            assert!(pending.everything && pending.announced.is_empty(), "{payload}");
        }
    }

    #[tokio::test]
    async fn more_than_can_wait_means_everything() {
        let changes = Changes::default();
        for revision in 0..=MAX_ANNOUNCED {
            changes.announce(&format!(r#"{{"revision": {revision}, "changed": []}}"#));
        }
        assert!(changes.next().await.everything);
    }
}
