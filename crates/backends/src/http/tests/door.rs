//! What a request has to pass before it leaves.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::http::leaving::Leaving;
use crate::http::socket::{Departure, Guard};

/// A crossing that may be repeated: counts how often it had to wait and wanted to leave, and lets it or not.
#[derive(Clone, Default)]
pub(super) struct Door {
    kept: Arc<AtomicUsize>,
    marked: Arc<AtomicUsize>,
    may_wait: bool,
    at_most: usize,
}

impl Door {
    /// Lets so many requests out.
    pub(super) fn letting_out(at_most: usize) -> Self {
        Self {
            may_wait: true,
            at_most,
            ..Self::default()
        }
    }

    /// Lets none wait.
    pub(super) fn shut() -> Self {
        Self::default()
    }

    /// How many had to wait.
    pub(super) fn kept(&self) -> usize {
        self.kept.load(Ordering::Relaxed)
    }

    /// How many wanted out.
    pub(super) fn marked(&self) -> usize {
        self.marked.load(Ordering::Relaxed)
    }
}

impl Leaving for Door {
    fn mark(&self, _reused: bool) {}
    fn take_back(&self) {}
    fn guard(&self) -> Option<Guard> {
        Some(Arc::new(self.clone()))
    }
    fn may_repeat(&self) -> bool {
        true
    }
}

impl Departure for Door {
    fn keep(&self) -> io::Result<()> {
        self.kept.fetch_add(1, Ordering::Relaxed);
        match self.may_wait {
            true => Ok(()),
            false => Err(io::Error::other("closed")),
        }
    }

    fn mark(&self) -> io::Result<()> {
        match self.marked.fetch_add(1, Ordering::Relaxed) {
            before if before < self.at_most => Ok(()),
            _ => Err(io::Error::other("closed")),
        }
    }
}
