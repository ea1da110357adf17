//! What each command does. Every one of them ends with an exit status: 0, 1 (the demo saw
//! something unexpected, or no mandate was minted), 70 (`EX_SOFTWARE`) or 78 (`EX_CONFIG`).

mod check;
mod demo;
mod dev;
mod local;
mod request;
mod serve;
mod token;

use std::io::{self, Write as _};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::cli::{Cli, Command, TokenCommand};
use crate::clock;
use crate::process::{INTERNAL, LOG_FLUSH_TIMEOUT, Server, Stop};
use crate::telemetry::log;

/// The command did its work and the result is not what it should be.
const UNEXPECTED: i32 = 1;

/// Does what was asked and returns the exit status.
pub async fn run(cli: Cli) -> i32 {
    match cli.command.unwrap_or(Command::Serve) {
        Command::Serve => serve::run().await,
        Command::Dev(arguments) => dev::run(arguments).await,
        Command::Demo => demo::run().await,
        Command::Check => check::run(&config::ProcessEnv, now()),
        Command::Token(TokenCommand::Mint(arguments)) => token::mint(&arguments).await,
    }
}

/// The wall clock, as certificates are judged by.
fn now() -> SystemTime {
    UNIX_EPOCH + clock::unix()
}

/// Serves until SIGTERM or SIGINT. Before that, a signal ends the process as signals do: nothing is
/// in flight.
async fn serve_until_signalled(server: Server) -> i32 {
    match Stop::signals() {
        Ok(stop) => server.run(stop).await,
        Err(error) => {
            complain(format_args!("gateway: no signal handlers: {error}"));
            INTERNAL
        }
    }
}

/// Writes a command's result to standard output. Unlike `println!` it survives a reader who left.
fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Writes one line about what went wrong to standard error, behind what was logged before.
fn complain(text: impl std::fmt::Display) {
    // When the log does not come through, neither may this: it is tried all the same.
    let _ = log::flush(LOG_FLUSH_TIMEOUT);
    // Nowhere is left to complain about a closed standard error.
    let _ = writeln!(io::stderr().lock(), "{text}");
}
