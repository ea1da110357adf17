//! `evidence explain`: what became of one request, and why.

use std::collections::HashSet;

use super::event::{Event, plain};
use super::explanation::{Explanation, Signature};
use super::source::{Source, SourceError};
use crate::cli::ExplainArgs;
use crate::commands::shared::{UNEXPECTED, complain, print};
use crate::process::OK;

pub(super) async fn run(arguments: ExplainArgs) -> Result<i32, SourceError> {
    let ExplainArgs {
        request_id,
        source,
        json,
    } = arguments;
    // An event's bytes name its ids as they are, so most events need not be read.
    let quoted = serde_json::to_string(&request_id).unwrap_or_default();
    let mut seen = HashSet::new();
    let mut found = Vec::new();
    let mut is_faulty = false;
    let mut source = Source::open(source)?;
    let key = source.audit_key()?;
    source
        .each(|entry| {
            let entry = entry?;
            if memchr::memmem::find(&entry.data, quoted.as_bytes()).is_some()
                && let Some(event) = Event::read(&entry.data)
                && (event.request_id == request_id || event.id == request_id)
            {
                let holds = |sig: &String| key.as_ref().is_some_and(|key| key.verifies(&entry.data, sig));
                let signature = match (&key, &entry.sig) {
                    (None, _) => Signature::NotJudged,
                    (Some(_), Some(sig)) if holds(sig) => Signature::Holds,
                    (Some(_), _) => Signature::Faulty,
                };
                if seen.insert((event.id.clone(), entry.is_finished, signature)) {
                    is_faulty |= signature == Signature::Faulty;
                    found.push(Explanation::new(&event, entry.is_finished).signed(signature));
                }
            }
            Ok(())
        })
        .await?;
    if found.is_empty() {
        complain(format_args!(
            "evidence explain: no event of {}. A request that was refused before its mandate's signature was verified leaves \
             none: its line in the gateway's log has the label, and docs/denials.md the meaning. One that was not shipped \
             yet is in a spool (--spool DIR).",
            plain(&request_id)
        ));
        return Ok(UNEXPECTED);
    }
    let texts: Vec<String> = found
        .iter()
        .map(|explanation| match json {
            // Numbers and text alone, so that it can always be written.
            true => serde_json::to_string(explanation).unwrap_or_default() + "\n",
            false => explanation.text(),
        })
        .collect();
    let text = texts.join(if json { "" } else { "\n" });
    print(&text).map_err(SourceError::Reader)?;
    Ok(if is_faulty { UNEXPECTED } else { OK })
}
