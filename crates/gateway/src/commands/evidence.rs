//! `evidence tail|export|verify|explain|key`: audit events for people and scripts.

mod event;
mod explain;
mod explanation;
mod key;
mod source;
mod tail;
mod verify;

use crate::cli::{EvidenceCommand, ExportArgs};
use crate::process::{CONFIG, OK, UNAVAILABLE};

use super::shared::{UNEXPECTED, complain, print};
use event::Filter;
use source::{Source, SourceError};

pub(super) async fn run(command: EvidenceCommand) -> i32 {
    let (name, done) = match command {
        EvidenceCommand::Tail(arguments) => ("tail", tail::run(arguments).await),
        EvidenceCommand::Export(arguments) => ("export", export(arguments).await),
        EvidenceCommand::Verify(arguments) => ("verify", verify::run(arguments).await),
        EvidenceCommand::Explain(arguments) => ("explain", explain::run(arguments).await),
        EvidenceCommand::Key => ("key", key::run()),
    };
    done.unwrap_or_else(|error| {
        complain(format_args!("evidence {name}: {error}"));
        match error {
            SourceError::Settings(_) => CONFIG,
            SourceError::Unavailable(_)
            | SourceError::Spool { .. }
            | SourceError::File { .. }
            | SourceError::Anchors { .. } => UNAVAILABLE,
            SourceError::Line(..) | SourceError::Reader(_) => UNEXPECTED,
        }
    })
}

async fn export(arguments: ExportArgs) -> Result<i32, SourceError> {
    let filter = Filter::new(arguments.filter);
    let mut source = Source::open(arguments.source)?;
    source
        .each(|entry| {
            let entry = entry?;
            match entry.is_finished && filter.admits(&entry.data) {
                true => print(&entry.line()).map_err(SourceError::Reader),
                false => Ok(()),
            }
        })
        .await?;
    Ok(OK)
}
