//! What the operator learns: metrics and logs. Never a bearer, a token, a path, a query string or a body.

mod about;
pub mod figures;
pub mod log;
pub mod metrics;

pub use about::{About, SERVICE};
pub use log::{LineSink, RequestLine};
pub use metrics::Metrics;
