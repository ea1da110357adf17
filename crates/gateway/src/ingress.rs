//! The front door: accept, TLS, HTTP, limits and time limits, the request target.

pub mod capacity;
pub mod connection;
pub mod listener;
pub mod pace;
mod streams;
pub mod target;
pub mod tls;
pub mod upload;
