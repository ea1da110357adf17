//! Gate 5: the path stays where it points. A path that passes is forwarded byte for byte.

use super::resource::Routed;
use crate::denial::Denial;
use crate::received::Head;
use crate::refused::Refused;
use crate::traversal::{self, Traversal};

/// A request that passed the preflight: gates 1 to 5.
pub struct Preflighted<'r> {
    routed: Routed<'r>,
}

impl<'r> Preflighted<'r> {
    pub(crate) fn head(&self) -> Head<'r> {
        self.routed.head()
    }

    pub(crate) fn token(&self) -> &'r str {
        self.routed.token()
    }

    pub(crate) fn resource(&self) -> &'r str {
        self.routed.resource()
    }
}

/// Refuses traversal.
///
/// # Errors
/// [`Denial::PathTraversal`].
pub fn check(routed: Routed<'_>) -> Result<Preflighted<'_>, Refused> {
    match traversal::judge(routed.head().parts.uri.path().as_bytes()) {
        Ok(()) => Ok(Preflighted { routed }),
        Err(Traversal) => Err(Denial::PathTraversal.into()),
    }
}
