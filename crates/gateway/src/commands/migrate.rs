//! `migrate`: the database of a stand-alone installation.

use backends::postgres::PostgresConnector;
use backends::stand_alone::{self, StandAloneError};
use config::{Database, ProcessEnv, StandAlone, Violations, Warning};

use super::shared::{UNEXPECTED, complain, now, print};
use crate::cli::MigrateArgs;
use crate::process::{CONFIG, INTERNAL, OK};
use crate::wiring;

pub(super) async fn run(arguments: &MigrateArgs) -> i32 {
    let loaded = StandAlone::load_database(&ProcessEnv, now());
    let database = match settings(loaded).and_then(|database| connector(&database)) {
        Ok(database) => database,
        Err(code) => return code,
    };
    match stand_alone::migrate(&database, arguments.grant_to.as_deref()).await {
        Ok(()) => said("the schema is up to date\n"),
        Err(error) => refused("migrate", &error),
    }
}

/// What the environment says, and the way to the database; or the exit status when that is said to be wrong.
pub(super) fn open() -> Result<(StandAlone, PostgresConnector), i32> {
    let settings = settings(StandAlone::load(&ProcessEnv, now()))?;
    let database = connector(&settings.database)?;
    Ok((settings, database))
}

fn settings<T>(loaded: Result<(T, Vec<Warning>), Violations>) -> Result<T, i32> {
    let (settings, warnings) = loaded.map_err(|violations| {
        complain(violations);
        CONFIG
    })?;
    for warning in warnings {
        complain(format_args!("warning: {warning}"));
    }
    Ok(settings)
}

fn connector(database: &Database) -> Result<PostgresConnector, i32> {
    wiring::database(database).map_err(|error| {
        complain(format_args!("gateway: {error}"));
        error.code()
    })
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
