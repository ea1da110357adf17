//! Requests of the gateway's own: with a mandate that is used again, and refused before a signature is verified.

use devstack::Devstack;

use crate::failure::Result;
use crate::requests::Requests;

/// One kind.
pub(super) struct Kind {
    pub(super) name: &'static str,
    pub(super) limit: Limit,
    sent: Sent,
}

/// What it is held to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Limit {
    /// A share of a request with a single-use mandate; the aim too.
    OfSingleUse(f64, f64),
    /// A share of nginx's request.
    OfNginx(f64),
    /// So many microseconds.
    Micros(f64),
}

enum Sent {
    Reusable,
    Unauthorized(&'static str),
    Path(&'static str),
}

/// All of them.
pub(super) const KINDS: [Kind; 6] = [
    Kind {
        name: "allowed, a reusable mandate",
        limit: Limit::OfSingleUse(0.7, 0.55),
        sent: Sent::Reusable,
    },
    refused("refused, no bearer", ""),
    refused("refused, a malformed token", "Bearer a.b.c"),
    hostile("refused, a path of 15 KiB, of `%2525`", "%2525"),
    hostile("refused, a path of 15 KiB, of `/%25252e`", "/%25252e"),
    hostile("refused, a path of 15 KiB, of `/;`", "/;"),
];

const fn refused(name: &'static str, credentials: &'static str) -> Kind {
    Kind {
        name,
        limit: Limit::OfNginx(0.6),
        sent: Sent::Unauthorized(credentials),
    }
}

const fn hostile(name: &'static str, part: &'static str) -> Kind {
    Kind {
        name,
        limit: Limit::Micros(100.0),
        sent: Sent::Path(part),
    }
}

impl Kind {
    pub(super) fn requests(&self, stack: &Devstack, count: usize) -> Result<Requests> {
        Ok(match self.sent {
            Sent::Reusable => Requests::reusable(stack, count)?,
            Sent::Unauthorized(credentials) => Requests::unauthorized(credentials, count),
            Sent::Path(part) => Requests::hostile_path(part, count),
        })
    }
}
