//! Request preflight: what can be judged from the head alone, in constant memory.

pub mod bearer;
pub mod framing;
pub mod path;
pub mod resource;

pub use path::Preflighted;

use crate::limits::Limits;
use crate::received::Head;
use crate::refused::Refused;

/// Gates 1 to 5 in their order. `bearer` is told the token as soon as there is a bounded one.
///
/// # Errors
/// The first gate that refuses.
pub fn check<'r>(
    head: Head<'r>,
    limits: &Limits,
    bearer: impl FnOnce(&'r str),
) -> Result<Preflighted<'r>, Refused> {
    let request = framing::check(head, limits)?;
    let request = bearer::extract(request)?;
    bearer(request.token());
    let request = resource::name(request)?;
    path::check(request)
}

#[cfg(test)]
mod tests;
