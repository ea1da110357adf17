//! Where requests arrive: accept, TLS, HTTP, limits and time limits, the request target.

pub mod alarm;
pub mod capacity;
pub mod connection;
pub mod extended_connect;
pub mod handed_over;
pub mod listener;
mod log_pace;
pub mod overload;
pub mod proxy_header;
pub mod refused;
mod shared_port;
pub mod subject;
pub mod target;
pub mod tls;
pub mod upload;
