//! The security token service: keys, mints, exchanges.

mod answer;
mod claims;
mod directive;
mod exchange;
mod keys;
mod mint;
mod refusal;
mod routes;
mod signature;
mod state;
mod token;
mod zone;

pub use mint::{MintRequest, Minted, Use};
pub use refusal::Refusal;
pub use state::{Sts, StsCounts};
