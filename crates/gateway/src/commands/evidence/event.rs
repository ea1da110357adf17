//! What of an event is shown and asked for.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::cli::FilterArgs;

/// An event's members.
#[derive(Debug, Deserialize)]
pub(super) struct Event {
    pub(super) id: String,
    pub(super) zone_id: String,
    pub(super) event_type: String,
    #[serde(default)]
    pub(super) request_id: String,
    #[serde(default)]
    pub(super) decision: String,
    #[serde(default)]
    pub(super) evaluation_status: String,
    pub(super) occurred_at: String,
    #[serde(default, rename = "metadata_json")]
    metadata: Map<String, Value>,
}

impl Event {
    pub(super) fn read(data: &[u8]) -> Option<Self> {
        serde_json::from_slice(data).ok()
    }

    /// A member of its metadata that is text.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.metadata.get(name).and_then(Value::as_str)
    }

    /// A member of its metadata that is a number.
    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.metadata.get(name).and_then(Value::as_u64)
    }

    /// A member of its metadata that says yes.
    pub(super) fn is(&self, name: &str) -> bool {
        self.metadata
            .get(name)
            .and_then(Value::as_bool)
            .unwrap_or_default()
    }
}

/// Which events are shown.
#[derive(Debug)]
pub(super) struct Filter(Option<FilterArgs>);

impl Filter {
    pub(super) fn new(arguments: FilterArgs) -> Self {
        let FilterArgs {
            zone,
            resource,
            decision,
        } = &arguments;
        let is_any = zone.is_some() || resource.is_some() || decision.is_some();
        Self(is_any.then_some(arguments))
    }

    /// Whether to show this event. One that cannot be read passes only where everything does.
    pub(super) fn admits(&self, data: &[u8]) -> bool {
        let Some(wanted) = &self.0 else { return true };
        let is =
            |wanted: Option<&str>, found: Option<&str>| wanted.is_none_or(|wanted| Some(wanted) == found);
        Event::read(data).is_some_and(|event| {
            is(wanted.zone.as_deref(), Some(&event.zone_id))
                && is(wanted.resource.as_deref(), event.text("resource"))
                && is(
                    wanted.decision.map(|decision| decision.name()),
                    Some(&event.decision),
                )
        })
    }
}

/// Text that came from outside, for a terminal: nothing in it moves the cursor or changes a colour.
pub(super) fn plain(text: &str) -> String {
    let shown = |character: char| {
        if character.is_control() {
            '\u{fffd}'
        } else {
            character
        }
    };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::DecisionArg;

    const EVENT: &str = r#"{"id":"1","zone_id":"z","event_type":"t","request_id":"r","decision":"deny",
        "evaluation_status":"denied","occurred_at":"now","metadata_json":{"resource":"res"}}"#;

    #[test]
    fn a_filter_admits_what_has_all_that_it_names() {
        let args = |zone: Option<&str>, resource: Option<&str>, decision| FilterArgs {
            zone: zone.map(str::to_owned),
            resource: resource.map(str::to_owned),
            decision,
        };
        for (wanted, admitted) in [
            (args(None, None, None), true),
            (args(Some("z"), Some("res"), Some(DecisionArg::Deny)), true),
            (args(Some("y"), None, None), false),
            (args(None, Some("re"), None), false),
            (args(None, None, Some(DecisionArg::Allow)), false),
        ] {
            let filter = Filter::new(wanted.clone());
            assert_eq!(filter.admits(EVENT.as_bytes()), admitted, "{wanted:?}");
        }
        assert!(Filter::new(args(None, None, None)).admits(b"no event"));
        assert!(!Filter::new(args(Some("z"), None, None)).admits(b"no event"));
    }

    #[test]
    fn nothing_reaches_a_terminal_that_controls_it() {
        assert_eq!(
            plain("a\u{1b}[31mb\r\n\u{9b}c"),
            "a\u{fffd}[31mb\u{fffd}\u{fffd}\u{fffd}c"
        );
    }
}
