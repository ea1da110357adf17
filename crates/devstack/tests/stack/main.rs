//! The dev stack over real sockets.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking, as the tests do"
)]

mod client;
mod echo;
mod exchange;
mod life;
mod mint;
mod refusals;
mod revoke;
mod script;
