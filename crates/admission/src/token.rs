//! Token validation: what the mandate says, and whether its zone said it.
//!
//! Claims can be read from outside this folder only once their signature holds: before that
//! they live in [`Parsed`] and [`Zoned`], which show none of them.

pub mod claims;
pub mod expiry;
pub mod jwks;
pub mod jws;
pub mod key;
pub mod parsed;
pub mod revocation;
pub mod signature;
pub mod verified_once;
pub mod zone;

pub use claims::{Anchors, Claims};
pub use jws::Scratch;
pub use key::VerifyingKey;
pub use parsed::{Parsed, parse};
pub use revocation::Watched;
pub use signature::Verified;
pub use verified_once::VerifiedOnce;
pub use zone::Zoned;

#[cfg(test)]
mod tests;
