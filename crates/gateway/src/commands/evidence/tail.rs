//! `evidence tail`: the audit stream as it grows.

use std::io::ErrorKind;

use super::event::{Event, Filter, plain};
use super::source::{Entry, Source, SourceError, Stream};
use crate::cli::{SourceArgs, TailArgs};
use crate::commands::shared::print;
use crate::process::OK;

/// Follows until the process is ended, or the stream cannot be read any more: then the error says where to go on.
pub(super) async fn run(arguments: TailArgs) -> Result<i32, SourceError> {
    let filter = Filter::new(arguments.filter);
    let source = Source::open(SourceArgs::default())?;
    let mut stream = Stream::connect(&source.access).await?;
    let mut after = match arguments.after {
        Some(entry) => entry,
        None => stream.reader.last().await.map_err(SourceError::Unavailable)?,
    };
    loop {
        let entries = stream.reader.next(&after).await.map_err(|cause| {
            let here = format!("{cause}; go on with --after {after}");
            SourceError::Unavailable(admission::ports::Cause::new(here))
        })?;
        for entry in entries {
            after.clone_from(&entry.entry);
            if filter.admits(&entry.data) {
                let entry = Entry::from(entry);
                let text = if arguments.json {
                    entry.line()
                } else {
                    line(&entry)
                };
                match print(&text) {
                    // The reader has seen enough, as `head` does.
                    Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(OK),
                    printed => printed.map_err(SourceError::Reader)?,
                }
            }
        }
    }
}

/// Time, decision, status, zone, resource, method, status code, error kind and request id, separated by tabs; `-` stands
/// for what an event has not.
fn line(entry: &Entry) -> String {
    let Some(event) = Event::read(&entry.data) else {
        return format!("an entry that is no event: {}\n", plain(&entry.id));
    };
    let known = |text: Option<&str>| text.map_or_else(|| "-".to_owned(), plain);
    let status = event.number("gateway_status").map(|status| status.to_string());
    let columns = [
        known(Some(&event.occurred_at)),
        known(Some(&event.decision)),
        known(Some(&event.evaluation_status)),
        known(Some(&event.zone_id)),
        known(event.text("resource")),
        known(event.text("method")),
        known(status.as_deref()),
        known(event.text("error_kind")),
        known(Some(&event.request_id)),
    ];
    format!("{}\n", columns.join("\t"))
}
