//! PostgreSQL: connections that are made again, reads with a deadline, and row-level security seen through.
//!
//! There is no pool: each reader owns one connection and drives it itself.

mod component;
mod connector;
mod read;
mod session;
mod tls;

pub use component::ConnectionStats;
pub use connector::{PostgresConfig, PostgresConnector};
pub(crate) use read::{Reader, execute, expect_visible, row_stream, rows};
pub(crate) use session::Session;
pub use tls::SslMode;

use admission::ports::Cause;

use crate::http::in_words;

/// What went wrong, in words. `tokio_postgres::Error` alone says "db error".
fn cause(doing: &str, error: &tokio_postgres::Error) -> Cause {
    match error.as_db_error() {
        Some(db) => Cause::new(format!(
            "postgres: {doing}: {} ({})",
            db.message(),
            db.code().code()
        )),
        None => in_words(&format!("postgres: {doing}"), error),
    }
}

/// A row is not what was asked for.
pub(crate) fn unexpected(error: tokio_postgres::Error) -> Cause {
    Cause::new(format!("postgres: unexpected row: {error}"))
}
