//! Gates 6 and 7: the token is a mandate, and neither expiring nor early.

use super::claims::{self, Claims};
use super::{expiry, jws};
use crate::denial::Denial;
use crate::limits::Limits;
use crate::moment::Moment;
use crate::preflight::Preflighted;
use crate::refused::Refused;

/// A well formed mandate that is neither expiring nor early. Its claims are unverified and cannot
/// be read outside this folder.
///
/// ```compile_fail,E0616
/// fn early(request: &admission::token::Parsed<'_>) -> i64 {
///     request.claims.expires_at() // private: nobody vouches for it yet
/// }
/// ```
///
/// ```
/// fn late(request: &admission::token::Verified<'_>) -> i64 {
///     request.claims().expires_at()
/// }
/// ```
pub struct Parsed<'r> {
    preflighted: Preflighted<'r>,
    jws: jws::Jws<'r>,
    claims: Claims<'r>,
}

impl<'r> Parsed<'r> {
    pub(super) fn into_parts(self) -> (Preflighted<'r>, jws::Jws<'r>, Claims<'r>) {
        (self.preflighted, self.jws, self.claims)
    }
}

/// Parses the token once, borrowing from the request and from `scratch`.
///
/// # Errors
/// [`Denial::MalformedToken`], [`Denial::Expiring`], [`Denial::NotYetValid`].
pub fn parse<'r>(
    request: Preflighted<'r>,
    scratch: &'r mut jws::Scratch,
    limits: &Limits,
    now: Moment,
) -> Result<Parsed<'r>, Refused> {
    let malformed = |_| Refused::new(Denial::MalformedToken);
    let (jws, payload) = jws::parse(request.token(), scratch).map_err(malformed)?;
    let claims = claims::parse(payload, limits, now).map_err(malformed)?;
    expiry::check(&claims, limits, now)?;
    Ok(Parsed {
        preflighted: request,
        jws,
        claims,
    })
}
