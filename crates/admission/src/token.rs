//! Token validation: what the mandate says, and whether its zone said it.
//!
//! Claims can be read from outside this folder only once their signature holds: before that
//! they live in [`Parsed`] and [`Zoned`], which show none of them.

pub mod claims;
pub mod expiry;
pub mod jwks;
pub mod jws;
pub mod revocation;
pub mod signature;
pub mod zone;

pub use claims::{Anchors, Claims};
pub use jws::Scratch;
pub use revocation::Watched;
pub use signature::{Verified, VerifyingKey};
pub use zone::Zoned;

use crate::limits::Limits;
use crate::ports::Moment;
use crate::preflight::Preflighted;
use crate::refused::Refused;

/// A well formed mandate that is neither expiring nor early: gates 6 and 7. Its claims are
/// unverified and cannot be read outside this folder.
///
/// ```compile_fail
/// fn early(request: &admission::token::Parsed<'_>) -> &str {
///     request.claims().zone_id() // private: nobody vouches for it yet
/// }
/// ```
///
/// ```
/// fn late<'a>(request: &'a admission::token::Verified<'_>) -> Option<&'a str> {
///     request.claims().zone_id()
/// }
/// ```
pub struct Parsed<'r> {
    preflighted: Preflighted<'r>,
    jws: jws::Jws<'r>,
    claims: Claims<'r>,
}

/// Gates 6 and 7: parses the token once, borrowing from the request and from `scratch`.
///
/// # Errors
/// [`crate::Denial::MalformedToken`], [`crate::Denial::Expiring`], [`crate::Denial::NotYetValid`].
pub fn parse<'r>(
    request: Preflighted<'r>,
    scratch: &'r mut Scratch,
    limits: &Limits,
    now: Moment,
) -> Result<Parsed<'r>, Refused> {
    let malformed = |_: Malformed| Refused::unverified(crate::Denial::MalformedToken);
    let (jws, payload) = jws::parse(request.token(), scratch).map_err(malformed)?;
    let claims = claims::parse(payload, limits, now).map_err(malformed)?;
    expiry::check(&claims, limits, now).map_err(Refused::unverified)?;
    Ok(Parsed {
        preflighted: request,
        jws,
        claims,
    })
}

/// The token is not a mandate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

#[cfg(test)]
mod tests;
