//! The place to wait that a connection has for itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// One place to wait for signing keys (gate 9) that belongs to one connection: nobody else can take it, so that
/// whoever has a connection can wait, however many others do. Clones are the same place.
///
/// Connections are bounded (`MAX_CONNECTIONS`), and so are these places.
#[derive(Clone, Debug, Default)]
pub struct OwnPlace(Arc<AtomicBool>);

impl OwnPlace {
    /// Takes the place, unless another request of the connection holds it.
    #[must_use]
    pub fn take(&self) -> Option<OwnPlaceTaken> {
        let was_taken = self.0.swap(true, Ordering::AcqRel);
        (!was_taken).then(|| OwnPlaceTaken(self.clone()))
    }
}

/// The place, which is free again when this is dropped.
#[derive(Debug)]
pub struct OwnPlaceTaken(OwnPlace);

impl Drop for OwnPlaceTaken {
    fn drop(&mut self) {
        self.0.0.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::OwnPlace;

    #[test]
    fn own_place_is_held_once_and_free_again() {
        let (place, other) = (OwnPlace::default(), OwnPlace::default());
        let same = place.clone();
        let taken = place.take();
        assert!(taken.is_some() && same.take().is_none());
        assert!(other.take().is_some(), "another connection's");
        drop(taken);
        assert!(same.take().is_some());
    }
}
