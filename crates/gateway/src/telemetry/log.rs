//! The log: JSON lines on standard error, one for each request and one for each event.
//!
//! A [`LineSink`] makes lines and a [`LineWriter`] takes them: nobody waits for the terminal, the pipe or the
//! collector behind standard error.

mod events;
mod request;
mod sink;
mod writer;

#[cfg(test)]
mod tests;

pub use events::{install, report_panics, subscriber};
pub use request::RequestLine;
pub use sink::LineSink;
pub use writer::{LineWriter, flush};
