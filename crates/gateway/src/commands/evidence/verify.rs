//! `evidence verify`: what events prove, and every hole by name.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use evidence::{ChainReport, KeyTrust, Report, SpoolPart, Verifier};
use serde::Serialize;

use super::event::plain;
use super::source::{self, Source, SourceError, anchored};
use crate::cli::VerifyArgs;
use crate::clock;
use crate::commands::shared::{UNEXPECTED, complain, print};
use crate::process::OK;

/// How far the clocks of gateways may be ahead of this one's.
const SKEW: Duration = Duration::from_secs(30);

/// What was found, and what follows from it for the exit status.
#[derive(Serialize)]
struct Verdict<T> {
    /// There is no hole in what is there, and nothing is wrong.
    is_sound: bool,
    #[serde(flatten)]
    found: T,
}

/// What was given to prove events against.
#[derive(Clone, Copy)]
struct Given {
    keys: bool,
    anchors: bool,
}

#[derive(Serialize)]
struct Spool {
    spool: Vec<SpoolPart>,
}

pub(super) async fn run(arguments: VerifyArgs) -> Result<i32, SourceError> {
    let mut source = Source::open(arguments.source)?;
    if let Some(dir) = source.spool() {
        return spool(dir, arguments.allow_empty, arguments.json);
    }
    let given = Given {
        keys: !arguments.keys.is_empty(),
        anchors: arguments.anchors.is_some(),
    };
    let mut verifier = Verifier::new(source.audit_key()?, arguments.keys);
    if arguments.allow_unchained {
        verifier = verifier.allow_unchained();
    }
    if let Some(seconds) = arguments.max_unproved {
        let (now, age) = (clock::unix(), Duration::from_secs(seconds.into()));
        verifier = verifier.unproved_between(micros(now.saturating_sub(age)), micros(now + SKEW));
    }
    if let Some(file) = &arguments.anchors {
        anchored(file, |checkpoint| verifier.add_anchored(checkpoint))?;
    }
    source
        .each(|entry| {
            match entry {
                Ok(entry) => verifier.add(&entry.id, &entry.data, entry.sig.as_deref()),
                Err(line) => verifier.add_unreadable(line.to_string()),
            }
            Ok(())
        })
        .await?;
    let report = verifier.finish();
    let is_empty = report.events == 0 && !arguments.allow_empty;
    if is_empty && report.is_sound() {
        complain(format_args!(
            "evidence verify: there is nothing to verify: no event came; is the file, or the database of REDIS_URL, the right \
             one, and did the export succeed? (--allow-empty passes it)"
        ));
    }
    let is_sound = report.is_sound() && !is_empty;
    let text = text(is_sound, &report, given);
    conclude(is_sound, report, text, arguments.json)
}

/// Judges the records of a spool. Whoever can write there can make all of it, so nothing is proved against them.
fn spool(dir: &Path, allow_empty: bool, json: bool) -> Result<i32, SourceError> {
    let spool = source::spool(dir, |_| Ok(()))?;
    let is_empty = spool.is_empty() && !allow_empty;
    if is_empty {
        complain(format_args!(
            "evidence verify: there is nothing to verify: {} holds nothing of a spool; is it the directory that \
             AUDIT_REPLAY_DIR names? (--allow-empty passes it)",
            plain(&dir.display().to_string())
        ));
    }
    let is_sound = !is_empty && spool.iter().all(|part| part.holes.is_empty());
    let mut text = String::new();
    // Writing to a string cannot fail.
    for part in &spool {
        let name = plain(&part.name);
        let _ = writeln!(text, "{name}: {}", words(part));
        for hole in &part.holes {
            let _ = writeln!(text, "fault: {name}: {}", plain(hole));
        }
    }
    let _ = writeln!(
        text,
        "{}: what is in a spool is not signed yet; whoever can write there can change it",
        match is_sound {
            true => "no hole",
            false => "NOT WHOLE",
        }
    );
    conclude(is_sound, Spool { spool }, text, json)
}

fn words(part: &SpoolPart) -> String {
    let SpoolPart {
        waiting, under_way, ..
    } = part;
    let shipped = match (&part.chain, part.shipped) {
        (Some(chain), Some(number)) => format!("chain {chain} is shipped up to number {number}"),
        _ => "in no chain".to_owned(),
    };
    format!(
        "{shipped}; {waiting} events wait, {under_way} requests have no recorded end (under way, or their process was killed)"
    )
}

fn conclude<T: Serialize>(is_sound: bool, found: T, text: String, json: bool) -> Result<i32, SourceError> {
    let text = match json {
        // Numbers and text alone, so that it can always be written.
        true => serde_json::to_string(&Verdict { is_sound, found }).unwrap_or_default() + "\n",
        false => text,
    };
    print(&text).map_err(SourceError::Reader)?;
    Ok(if is_sound { OK } else { UNEXPECTED })
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

fn text(is_sound: bool, report: &Report, given: Given) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    for chain in &report.chains {
        let _ = writeln!(text, "{}", line(chain));
    }
    for fault in &report.faults {
        let _ = writeln!(text, "fault: {}", plain(&fault.to_string()));
    }
    let untold = report.fault_count - report.faults.len() as u64;
    if untold > 0 {
        let _ = writeln!(text, "fault: {untold} more");
    }
    let Report {
        events,
        duplicates,
        unchained,
        proved,
        unproved,
        anchored,
        ..
    } = report;
    let signatures = match report.signatures_judged {
        true => "signatures judged",
        false => "signatures not judged (set AUDIT_HMAC_KEY)",
    };
    let anchored = match given.anchors {
        true => format!("{anchored} checkpoints as the anchor has them; "),
        false => String::new(),
    };
    let keys = match given.keys || report.chains.is_empty() {
        true => "",
        false => {
            "; the key of each chain is its own word, and anybody can make such a chain: give those that `evidence key` or the \
             gateway's log shows (--checkpoint-key)"
        }
    };
    let unchained = match unchained {
        0 => "0 in no chain".to_owned(),
        _ => format!("{unchained} in no chain (--allow-unchained passes them)"),
    };
    let _ = writeln!(
        text,
        "{}: {events} events, {duplicates} of them copies; {proved} proved by checkpoints, {unproved} not yet, {unchained}; \
         {anchored}{signatures}{keys}",
        match is_sound {
            true => "no hole in what is there",
            false => "NOT PROVED",
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
        (Some(at), false) => format!("open since the checkpoint of {}", plain(at)),
        (None, _) => "no checkpoint yet".to_owned(),
    };
    let key = chain.key.as_deref().unwrap_or("unknown");
    let trust = match chain.key_trust {
        KeyTrust::Given => "given",
        KeyTrust::Announced => "by its own word",
        KeyTrust::Unannounced => "unannounced",
        KeyTrust::Foreign => "none of the given ones",
    };
    let id = plain(id);
    let anchored = anchored.map_or_else(String::new, |seq| format!("; as the anchor has it up to {seq}"));
    format!(
        "chain {id}: {events} events, numbers {first} to {last}, {proved} proved; {end}{anchored}; key {key} ({trust})"
    )
}
