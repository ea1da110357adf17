//! The whole walk, [`admission::Admission::admit`], over scripted ports that keep a journal.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test support: a failure fails the test"
)]

mod directive;
mod gates;
mod order;
mod permit;
mod ports;
mod scene;
mod spent;
