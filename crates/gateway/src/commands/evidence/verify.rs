//! `evidence verify`: what events prove, and every hole by name.

use std::fmt::Write as _;

use evidence::{ChainReport, KeyTrust, Report, Verifier};
use serde::Serialize;

use super::source::{Item, Source, SourceError, anchored};
use crate::cli::VerifyArgs;
use crate::commands::shared::{UNEXPECTED, print};
use crate::process::OK;

/// The report, and what follows from it for the exit status.
#[derive(Serialize)]
struct Verdict {
    /// Nothing is missing, changed or forged.
    is_sound: bool,
    #[serde(flatten)]
    report: Report,
}

pub(super) async fn run(arguments: VerifyArgs) -> Result<i32, SourceError> {
    let mut source = Source::open(arguments.source)?;
    let mut verifier = Verifier::new(source.audit_key()?, arguments.keys);
    if let Some(file) = &arguments.anchors {
        anchored(file, |checkpoint| verifier.add_anchored(checkpoint))?;
    }
    source
        .each(|item| {
            match item {
                Item::Chain { id, head, key } => verifier.begins_behind(&id, head, key),
                Item::Event(entry) if entry.is_finished => verifier.add(&entry.data, entry.sig.as_deref()),
                Item::Event(_) => {}
            }
            Ok(())
        })
        .await?;
    let report = verifier.finish();
    let proved = report.is_sound() && (report.unchained == 0 || arguments.allow_unchained);
    let text = if arguments.json {
        let verdict = Verdict {
            is_sound: proved,
            report,
        };
        // Numbers and text alone, so that it can always be written.
        serde_json::to_string(&verdict).unwrap_or_default() + "\n"
    } else {
        text(proved, &report)
    };
    print(&text).map_err(SourceError::Reader)?;
    Ok(if proved { OK } else { UNEXPECTED })
}

fn text(proved: bool, report: &Report) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    for chain in &report.chains {
        let _ = writeln!(text, "{}", line(chain));
    }
    for fault in &report.faults {
        let _ = writeln!(text, "fault: {}", super::event::plain(&fault.to_string()));
    }
    let untold = report.fault_count - report.faults.len() as u64;
    if untold > 0 {
        let _ = writeln!(text, "fault: {untold} more");
    }
    let Report {
        events,
        duplicates,
        unchained,
        proved: sound,
        anchored,
        ..
    } = report;
    let signatures = match report.signatures_judged {
        true => "signatures judged",
        false => "signatures not judged (set AUDIT_HMAC_KEY)",
    };
    let _ = writeln!(
        text,
        "{}: {events} events, {duplicates} of them copies; {sound} proved by checkpoints, {unchained} in no chain; {anchored} checkpoints as the anchor has them; {signatures}",
        if proved {
            "nothing is missing"
        } else {
            "NOT PROVED"
        },
    );
    text
}

fn line(chain: &ChainReport) -> String {
    let ChainReport {
        id,
        first,
        last,
        events,
        proved,
        anchored,
        ..
    } = chain;
    let end = match (&chain.last_checkpoint, chain.is_complete) {
        (Some(_), true) => "complete".to_owned(),
        (Some(at), false) => format!("open since the checkpoint of {}", super::event::plain(at)),
        (None, _) => "no checkpoint yet".to_owned(),
    };
    let key = chain.key.as_deref().unwrap_or("unknown");
    let trust = match chain.key_trust {
        KeyTrust::Given => "given",
        KeyTrust::Announced => "by its own word",
        KeyTrust::Unannounced => "unannounced",
        KeyTrust::Foreign => "none of the given ones",
    };
    let id = super::event::plain(id);
    let anchored = anchored.map_or_else(String::new, |seq| format!("; as the anchor has it up to {seq}"));
    format!(
        "chain {id}: {events} events, numbers {first} to {last}, {proved} proved; {end}{anchored}; key {key} ({trust})"
    )
}
