//! Why a request ended as its event says: from the one table of refusals, and the one list of ends.

use admission::Denial;
use admission::denial::Stage;
use config::keys::{self, Key, Preset};
use evidence::Status;
use serde::Serialize;

use super::event::Event;
use crate::record::{End, evidence_labels};

/// What is known of an event's signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Signature {
    /// There is no key for it.
    NotJudged,
    Holds,
    /// It is missing, or does not hold.
    Faulty,
}

impl Signature {
    const fn words(self) -> &'static str {
        match self {
            Self::NotJudged => {
                "not judged (AUDIT_HMAC_KEY is not set, or it is a spool, where nothing is signed yet)"
            }
            Self::Holds => "holds; the chain is not judged: see `evidence verify`",
            Self::Faulty => "MISSING OR WRONG: what follows is not what a gateway shipped",
        }
    }
}

/// What is to be said of one event.
#[derive(Debug, Serialize)]
pub(super) struct Explanation {
    event: String,
    occurred_at: String,
    request_id: String,
    /// Whether the request has ended, as far as this source knows.
    finished: bool,
    signature: Signature,
    asked: Asked,
    decision: String,
    evaluation_status: String,
    error_kind: Option<String>,
    gateway_status: Option<u64>,
    upstream_host: Option<String>,
    upstream_status: Option<u64>,
    /// How many refusals this event stands for, where it is a sum.
    suppressed: Option<u64>,
    /// What may have decided; several where the event does not tell them apart.
    causes: Vec<Cause>,
}

/// What was asked for.
#[derive(Debug, Serialize)]
struct Asked {
    zone_id: String,
    resource: Option<String>,
    method: Option<String>,
    application_id: Option<String>,
    session_id: Option<String>,
    agent_session_id: Option<String>,
}

/// What decided.
#[derive(Debug, Serialize)]
struct Cause {
    /// The gate, where one refused.
    gate: Option<u8>,
    /// In words.
    decided_by: &'static str,
    /// The label in metrics, logs and `docs/denials.md`.
    label: Option<&'static str>,
    /// `error` and `error_description` of the answer.
    answer: Option<[&'static str; 2]>,
    /// What it means, and what to do.
    help: &'static str,
    /// The row, or the settings elsewhere, that made it so.
    made_so_by: Option<String>,
    /// The settings that bear on it.
    settings: Vec<Setting>,
}

#[derive(Debug, Serialize)]
struct Setting {
    name: &'static str,
    default: &'static str,
    meaning: &'static str,
}

const NOT_DISPATCHED: &str = "Every gate let the request through, and the gateway stopped, or was killed, before a byte of it left: the \
                              upstream never saw it. The mandate is spent; ask for another and send the request again.";
const INTERRUPTED: &str = "The request was dispatched, and its gateway process ended before it was over: it was killed, or its \
                           machine stopped. What the upstream did is not known; ask there.";

impl Explanation {
    pub(super) fn new(event: &Event, finished: bool) -> Self {
        let text = |name: &str| event.text(name).map(str::to_owned);
        Self {
            event: event.id.clone(),
            occurred_at: event.occurred_at.clone(),
            request_id: event.request_id.clone(),
            finished,
            signature: Signature::NotJudged,
            asked: Asked {
                zone_id: event.zone_id.clone(),
                resource: text("resource"),
                method: text("method"),
                application_id: text("application_id").or_else(|| text("client_id")),
                session_id: text("session_id"),
                agent_session_id: text("agent_session_id"),
            },
            decision: event.decision.clone(),
            evaluation_status: event.evaluation_status.clone(),
            error_kind: text("error_kind"),
            gateway_status: event.number("gateway_status"),
            upstream_host: text("upstream_host"),
            upstream_status: event.number("upstream_status"),
            suppressed: event.number("suppressed"),
            causes: causes(event, finished),
        }
    }

    pub(super) fn signed(self, signature: Signature) -> Self {
        Self { signature, ..self }
    }

    /// For people, some lines.
    pub(super) fn text(&self) -> String {
        let mut lines = Lines::default();
        let Self { asked, causes, .. } = self;
        lines.add("request", &format!("{} (event {})", self.request_id, self.event));
        lines.add("when", &self.occurred_at);
        lines.add("signature", self.signature.words());
        let of = |what: &str, value: &Option<String>| {
            value
                .as_ref()
                .map(|value| format!(" {what} {value}"))
                .unwrap_or_default()
        };
        let (method, resource) = (
            asked.method.as_deref().unwrap_or("a request"),
            asked.resource.as_deref().unwrap_or("-"),
        );
        lines.add(
            "asked",
            &format!(
                "{method} for {resource} in zone {}{}{}{}",
                asked.zone_id,
                of("by application", &asked.application_id),
                of("under authority record", &asked.session_id),
                of("and session", &asked.agent_session_id)
            ),
        );
        let kind = self
            .error_kind
            .as_ref()
            .map(|kind| format!(" ({kind})"))
            .unwrap_or_default();
        let ended = if self.finished {
            self.evaluation_status.as_str()
        } else {
            "still under way"
        };
        lines.add("decision", &format!("{}, {ended}{kind}", self.decision));
        if let Some(suppressed) = self.suppressed {
            let sum = "refusals like this one that were not written one by one (AUDIT_DENIALS_PER_SECOND)";
            lines.add("stands for", &format!("{suppressed} {sum}"));
        }
        if let Some(host) = &self.upstream_host {
            let answer = self
                .upstream_status
                .map_or_else(|| "no answer".to_owned(), |status| format!("answered {status}"));
            lines.add("upstream", &format!("{host}, {answer}"));
        }
        if let Some(status) = self.gateway_status {
            lines.add("caller got", &status.to_string());
        }
        if causes.len() > 1 {
            lines.add("causes", "one of these; the log line of the request tells which");
        }
        causes.iter().for_each(|cause| cause.lines(&mut lines));
        lines.0
    }
}

/// Labelled lines of text that may have come from outside.
#[derive(Default)]
struct Lines(String);

impl Lines {
    fn add(&mut self, label: &str, text: &str) {
        self.0
            .push_str(&format!("{label:<11} {}\n", super::event::plain(text)));
    }
}

impl Cause {
    fn of_denial(denial: Denial, event: &Event) -> Self {
        let row = denial.row();
        Self {
            gate: row.gate,
            decided_by: stage(row.stage),
            label: Some(row.label),
            answer: Some([row.error, row.description]),
            help: row.help,
            made_so_by: made_so_by(denial, event),
            settings: settings(row.help),
        }
    }

    fn after_the_gates(decided_by: &'static str, help: &'static str) -> Self {
        Self {
            gate: None,
            decided_by,
            label: None,
            answer: None,
            help,
            made_so_by: None,
            settings: settings(help),
        }
    }

    fn lines(&self, lines: &mut Lines) {
        match self.gate {
            Some(gate) => lines.add("decided by", &format!("gate {gate}: {}", self.decided_by)),
            None => lines.add("decided by", self.decided_by),
        }
        if let (Some([error, description]), Some(label)) = (self.answer, self.label) {
            lines.add("answer", &format!("{error}: {description} (label {label})"));
        }
        lines.add("meaning", self.help);
        if let Some(row) = &self.made_so_by {
            lines.add("made so by", row);
        }
        for Setting {
            name,
            default,
            meaning,
        } in &self.settings
        {
            lines.add("setting", &format!("{name} (default: {default}): {meaning}"));
        }
    }
}

/// What may have decided.
fn causes(event: &Event, finished: bool) -> Vec<Cause> {
    if event.event_type == "replay_detected" || event.text("error_kind") == Some("replay_detected") {
        return vec![Cause::of_denial(Denial::Replayed, event)];
    }
    let kind = event.text("error_kind");
    if !finished || (kind.is_none() && event.evaluation_status == Status::Interrupted.as_str()) {
        let help = if finished {
            INTERRUPTED
        } else {
            "The request has no end yet."
        };
        return vec![Cause::after_the_gates("every gate: it was let through", help)];
    }
    if event.evaluation_status == Status::NotDispatched.as_str() {
        let decided_by = "no gate: the gateway's own end";
        return vec![Cause::after_the_gates(decided_by, NOT_DISPATCHED)];
    }
    let labelled = |denial: &Denial| {
        [false, true].iter().any(|dispatched| {
            let (status, label) = evidence_labels(*denial, *dispatched);
            status.as_str() == event.evaluation_status && Some(label) == kind
        })
    };
    let mut denials: Vec<Denial> = Denial::ALL.into_iter().filter(labelled).collect();
    // The answer's status tells some apart; the STS's own refusals have whatever status it gave them.
    let answered =
        |denial: &Denial| event.number("gateway_status") == Some(u64::from(denial.row().status.as_u16()));
    if denials.iter().any(answered) {
        denials.retain(answered);
    }
    if !denials.is_empty() {
        return denials
            .into_iter()
            .map(|denial| Cause::of_denial(denial, event))
            .collect();
    }
    let is_revoked = event.is("revocation_interrupted");
    let ended =
        |end: &End| end.error_kind() == kind && (kind.is_some() || (*end == End::Revoked) == is_revoked);
    let ends = End::ALL.into_iter().filter(ended);
    ends.map(|end| Cause::after_the_gates("no gate: what came after them", end.help()))
        .collect()
}

fn stage(stage: Stage) -> &'static str {
    match stage {
        Stage::Ingress => "the listener's own bounds",
        Stage::Preflight => "the request head",
        Stage::Token => "the mandate",
        Stage::Binding => "the binding of zone and resource",
        Stage::Exchange => "the exchange at the STS, and what precedes it",
        Stage::Crossing => "what came after the gates",
    }
}

/// The row of a store, or the word of the STS, that made it so.
fn made_so_by(denial: Denial, event: &Event) -> Option<String> {
    let zone = &event.zone_id;
    let resource = event.text("resource").unwrap_or("-");
    match denial {
        Denial::NotBound => Some(format!(
            "no row of {resource} in zone {zone} in gateway_resource_bindings and resources (`caracal-gateway binding list`)"
        )),
        Denial::UpstreamNotAddressable | Denial::UpstreamMismatch => Some(format!(
            "the upstream URL of {resource} in zone {zone}, in its binding or in the STS's directive"
        )),
        Denial::Revoked => Some(format!(
            "a revoked authority record ({}), session ({}) or delegation edge",
            event.text("session_id").unwrap_or("-"),
            event.text("agent_session_id").unwrap_or("-")
        )),
        Denial::Replayed => Some(format!(
            "the replay mark seen:jti:{}",
            event.text("jti").unwrap_or("<jti>")
        )),
        Denial::ExchangeRefused
        | Denial::NoDirective
        | Denial::DirectiveInvalid
        | Denial::TokenHostNotAllowed => Some(format!(
            "the STS, for application {} and {resource} in zone {zone}: its own event has the same correlation id, {}",
            event.text("application_id").unwrap_or("-"),
            event.id
        )),
        _ => None,
    }
}

/// The settings that a text names.
fn settings(help: &str) -> Vec<Setting> {
    let words = help.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let named: Vec<&str> = words.collect();
    let mentioned = keys::all().filter(|key| named.contains(&key.name));
    mentioned.map(Setting::of).collect()
}

impl Setting {
    fn of(key: &Key) -> Self {
        let default = match key.default {
            Preset::Required => "none, it is required",
            Preset::Unset(meaning) => meaning,
            Preset::Value(value)
            | Preset::PerMode {
                production: value, ..
            } => value,
        };
        Self {
            name: key.name,
            default,
            meaning: key.meaning,
        }
    }
}

#[cfg(test)]
mod tests;
