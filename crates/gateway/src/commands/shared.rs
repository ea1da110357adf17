//! What the commands share: their output, their exit status, the wall clock, serving until a signal.

use std::io::{self, Write as _};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::clock;
use crate::process::{INTERNAL, LOG_FLUSH_TIMEOUT, Server, Stop};
use crate::telemetry::log;

/// The command did its work and the result is not what it should be.
pub(super) const UNEXPECTED: i32 = 1;

/// The wall clock, as certificates are judged by.
pub(super) fn now() -> SystemTime {
    UNIX_EPOCH + clock::unix()
}

/// Serves until SIGTERM or SIGINT. Before that, a signal ends the process as signals do: nothing is
/// in flight.
pub(super) async fn serve_until_signalled(server: Server) -> i32 {
    match Stop::signals() {
        Ok(stop) => server.run(stop).await,
        Err(error) => {
            complain(format_args!("gateway: no signal handlers: {error}"));
            INTERNAL
        }
    }
}

/// Writes a command's result to standard output. Unlike `println!` it survives a reader who left.
pub(super) fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Writes one line about what went wrong to standard error, behind what was logged before.
pub(super) fn complain(text: impl std::fmt::Display) {
    // When the log does not come through, neither may this: it is tried all the same.
    let _ = log::flush(LOG_FLUSH_TIMEOUT);
    // Nowhere is left to complain about a closed standard error.
    let _ = writeln!(io::stderr().lock(), "{text}");
}
