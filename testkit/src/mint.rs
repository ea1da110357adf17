//! Keys, JWKS documents and mandates: good ones, and every kind of broken one.

mod forgery;
mod mandate;

pub use forgery::{Breaks, Forgery, high_s_twin};
pub use mandate::{Key, Mandate, base64url, jwks, seal};

#[cfg(test)]
mod tests;
