//! What each command does. Every one of them ends with an exit status: 0, 1 (the demo saw
//! something unexpected, no mandate was minted, a binding or schema was refused, or evidence is missing or wrong), 69
//! (`EX_UNAVAILABLE`), 70 (`EX_SOFTWARE`) or 78 (`EX_CONFIG`).

mod binding;
mod check;
mod demo;
mod dev;
mod evidence;
mod local;
mod migrate;
mod request;
mod serve;
mod shared;
mod token;

use crate::cli::{Cli, Command, TokenCommand};

/// Does what was asked and returns the exit status.
pub async fn run(cli: Cli) -> i32 {
    match cli.command.unwrap_or(Command::Serve) {
        // Large, and there once.
        Command::Serve => Box::pin(serve::run()).await,
        Command::Dev(arguments) => dev::run(arguments).await,
        Command::Demo => demo::run().await,
        Command::Check => check::run(&config::ProcessEnv, shared::now()),
        Command::Migrate(arguments) => migrate::run(&arguments).await,
        Command::Binding(command) => binding::run(command).await,
        Command::Token(TokenCommand::Mint(arguments)) => token::mint(&arguments).await,
        Command::Evidence(command) => evidence::run(command).await,
    }
}
