//! The log: JSON lines on standard error, one for each request and one for each event.
//!
//! A [`LineSink`] takes whole lines and never waits for the terminal, the pipe or the collector behind it.

mod panics;
mod request;
mod sink;
mod subscriber;

#[cfg(test)]
mod tests;

pub use panics::report_panics;
pub use request::RequestLine;
pub use sink::LineSink;
pub use subscriber::{install, subscriber};
