//! `migrate`: the database of a stand-alone installation.

use backends::postgres::PostgresConnector;
use backends::stand_alone::{self, StandAloneError};
use config::{ProcessEnv, StandAlone};

use super::shared::{UNEXPECTED, complain, now, print};
use crate::cli::MigrateArgs;
use crate::process::{CONFIG, INTERNAL, OK};
use crate::wiring;

pub(super) async fn run(arguments: &MigrateArgs) -> i32 {
    let (_, database) = match open() {
        Ok(opened) => opened,
        Err(code) => return code,
    };
    match stand_alone::migrate(&database, arguments.grant_to.as_deref()).await {
        Ok(()) => said("the schema is up to date\n"),
        Err(error) => refused("migrate", &error),
    }
}

/// What the environment says, and the way to the database; or the exit status when that is said to be wrong.
pub(super) fn open() -> Result<(StandAlone, PostgresConnector), i32> {
    let (settings, warnings) = StandAlone::load(&ProcessEnv, now()).map_err(|violations| {
        complain(violations);
        CONFIG
    })?;
    for warning in warnings {
        complain(format_args!("warning: {warning}"));
    }
    let database = wiring::database(&settings.database).map_err(|error| {
        complain(format_args!("gateway: {error}"));
        error.code()
    })?;
    Ok((settings, database))
}

/// Says why nothing was done. Returns the exit status.
pub(super) fn refused(command: &str, error: &StandAloneError) -> i32 {
    complain(format_args!("{command}: {error}"));
    match error {
        StandAloneError::Database(_) => INTERNAL,
        StandAloneError::Foreign(_) | StandAloneError::NotMigrated | StandAloneError::Name(_) => UNEXPECTED,
    }
}

/// Says what was done. Returns the exit status.
pub(super) fn said(text: &str) -> i32 {
    match print(text) {
        Ok(()) => OK,
        Err(_) => UNEXPECTED,
    }
}
