//! Request preflight: what can be judged from the head alone, in constant memory.

pub mod bearer;
pub mod framing;
pub mod path;
pub mod resource;

pub use path::Preflighted;

use crate::limits::Limits;
use crate::received::Received;
use crate::refused::Refused;

/// Gates 1 to 5 in their order.
///
/// # Errors
/// The first gate that refuses.
pub fn check<'r>(received: Received<'r>, limits: &Limits) -> Result<Preflighted<'r>, Refused> {
    let request = framing::check(received, limits)?;
    let request = bearer::extract(request)?;
    let request = resource::name(request)?;
    path::check(request)
}

#[cfg(test)]
mod tests;
