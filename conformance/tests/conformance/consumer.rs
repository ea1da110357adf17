//! The audit service's rules (contract §3.6), followed step by step and without a line of the gateway: what it stores, what it
//! takes for the same event again, and what it puts aside. The database is a real one, so what that refuses is refused.

use crate::world::{World, hmac_sha256_hex};
use serde_json::{Map, Value};
use std::collections::HashMap;
use testkit::postgres::{Connection, connect};
use tokio_postgres::types::ToSql;

/// As far as the rules name it: what may not be null, and what tells rows apart.
const TABLE: &str = "CREATE TABLE audit_events (
    id text NOT NULL, zone_id text, event_type text NOT NULL, request_id text, decision text, evaluation_status text,
    policy_set_id text, policy_set_version_id text, manifest_sha text,
    determining_policies_json jsonb, diagnostics_json jsonb, metadata_json jsonb,
    occurred_at timestamptz NOT NULL, PRIMARY KEY (id, occurred_at)
    ) PARTITION BY RANGE (occurred_at);
    CREATE TABLE audit_events_rest PARTITION OF audit_events DEFAULT;";
const INSERT: &str = "INSERT INTO audit_events VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10::text::jsonb, \
    $11::text::jsonb, $12::text::jsonb, date_trunc('microseconds', $13::text::timestamptz)) ON CONFLICT DO NOTHING";
const SAME: &str = "SELECT count(*) FROM audit_events WHERE id = $1 AND zone_id IS NOT DISTINCT FROM $2 AND event_type = $3 \
    AND request_id IS NOT DISTINCT FROM $4 AND decision IS NOT DISTINCT FROM $5 AND evaluation_status IS NOT DISTINCT FROM $6 \
    AND policy_set_id IS NOT DISTINCT FROM $7 AND policy_set_version_id IS NOT DISTINCT FROM $8 \
    AND manifest_sha IS NOT DISTINCT FROM $9 AND determining_policies_json IS NOT DISTINCT FROM $10::text::jsonb \
    AND diagnostics_json IS NOT DISTINCT FROM $11::text::jsonb AND metadata_json IS NOT DISTINCT FROM $12::text::jsonb \
    AND occurred_at = date_trunc('microseconds', $13::text::timestamptz)";
/// The texts of an event, in the order of the columns; the last three of them may be left out.
const TEXTS: [&str; 9] = [
    "id",
    "zone_id",
    "event_type",
    "request_id",
    "decision",
    "evaluation_status",
    "policy_set_id",
    "policy_set_version_id",
    "manifest_sha",
];
const NESTED: [&str; 3] = ["determining_policies_json", "diagnostics_json", "metadata_json"];
/// The time that a missing one reads as.
const ZERO_TIME: &str = "0001-01-01T00:00:00Z";

/// One message of the stream: its fields.
pub(crate) type Message = HashMap<String, Vec<u8>>;

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It is a new row.
    Stored,
    /// There is a row with this id and time, and it says the same.
    Again,
}

/// The audit service.
pub(crate) struct Consumer {
    database: Connection,
    key: String,
}

impl Consumer {
    /// One with an empty table, in the database of this world and with its key.
    pub(crate) async fn start(world: &World) -> Self {
        let database = connect(&world.database.owner_url()).await;
        database.client.batch_execute(TABLE).await.expect("a new table");
        let key = world.variable("AUDIT_HMAC_KEY").to_owned();
        Self { database, key }
    }

    /// Takes a message, or says under which reason it is put aside.
    pub(crate) async fn take(&self, message: &Message) -> Result<Taken, String> {
        let text = |name: &str| {
            message
                .get(name)
                .and_then(|value| std::str::from_utf8(value).ok())
        };
        let data = text("data").ok_or("missing_data_field")?;
        if text("sig") != Some(&*hmac_sha256_hex(&self.key, data.as_bytes())) {
            return Err("hmac_verify_failed".to_owned());
        }
        let event = parse(data).map_err(|reason| format!("json_parse_error:{reason}"))?;
        let parameters: Vec<&(dyn ToSql + Sync)> = event.iter().map(|value| value as _).collect();
        let permanent = |error: tokio_postgres::Error| {
            let code = error.code().map_or("", tokio_postgres::error::SqlState::code);
            format!("pg_permanent_error:{error} {code}")
        };
        let client = &self.database.client;
        if client.execute(INSERT, &parameters).await.map_err(permanent)? == 1 {
            return Ok(Taken::Stored);
        }
        let same = client.query_one(SAME, &parameters).await.map_err(permanent)?;
        match same.get::<_, i64>(0) {
            1 => Ok(Taken::Again),
            _ => Err("tamper_on_replay".to_owned()),
        }
    }

    /// Event ids that have more than one row: the same id at another time.
    pub(crate) async fn twofold(&self) -> Vec<String> {
        let sql = "SELECT id FROM audit_events GROUP BY id HAVING count(*) > 1";
        let rows = self.database.client.query(sql, &[]).await.expect("an answer");
        rows.iter().map(|row| row.get(0)).collect()
    }
}

/// The values of a row.
fn parse(data: &str) -> Result<Vec<Option<String>>, String> {
    let members: Map<String, Value> = serde_json::from_str(data).map_err(|error| error.to_string())?;
    let mut row = Vec::new();
    for name in TEXTS {
        row.push(match members.get(name) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text.clone()),
            Some(other) => return Err(format!("{name} is {other}")),
        });
    }
    if row[..2]
        .iter()
        .any(|value| value.as_deref().unwrap_or_default().is_empty())
    {
        return Err("no id or no zone".to_owned());
    }
    // A text that is missing reads as empty, but for those that may be.
    for value in &mut row[..6] {
        value.get_or_insert_default();
    }
    row.extend(NESTED.map(|name| members.get(name).map(Value::to_string)));
    let time = members
        .get("occurred_at")
        .and_then(Value::as_str)
        .unwrap_or(ZERO_TIME);
    if time == ZERO_TIME || !is_rfc3339(time) {
        return Err(format!("occurred_at is {time}"));
    }
    row.push(Some(time.to_owned()));
    Ok(row)
}

/// `2026-09-21T14:13:20[.123456789]Z`, or with an offset.
fn is_rfc3339(text: &str) -> bool {
    let shape: String = text
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    let Some(rest) = shape.strip_prefix("0000-00-00T00:00:00") else {
        return false;
    };
    let zone = rest
        .strip_prefix('.')
        .map_or(rest, |fraction| fraction.trim_start_matches('0'));
    let digits = rest.len() - zone.len();
    digits != 1 && digits <= 10 && matches!(zone, "Z" | "+00:00" | "-00:00")
}

#[tokio::test]
async fn consumer_puts_aside_what_the_contract_says_and_knows_an_event_again() {
    let world = World::start().await;
    let consumer = Consumer::start(&world).await;
    let signed = |data: &str| -> Message {
        let sig = hmac_sha256_hex(world.variable("AUDIT_HMAC_KEY"), data.as_bytes());
        [("data", data.to_owned()), ("sig", sig)]
            .map(|(name, value)| (name.to_owned(), value.into_bytes()))
            .into()
    };
    let without = |mut message: Message, name: &str| {
        message.remove(name);
        message
    };
    let event = |id: &str, zone: &str, metadata: &str, time: &str| {
        format!(
            r#"{{"id":"{id}","zone_id":"{zone}","event_type":"t","metadata_json":{metadata},"occurred_at":"{time}"}}"#
        )
    };
    let time = "2026-09-21T14:13:20.123456Z";
    let good = event("a", "z", r#"{"b":1,"a":[2]}"#, time);
    let reordered = event("a", "z", r#"{"a":[2], "b":1}"#, "2026-09-21T14:13:20.123456Z");
    for (case, message, expect) in [
        ("a new event", signed(&good), Ok(Taken::Stored)),
        ("the same bytes", signed(&good), Ok(Taken::Again)),
        ("another order of members", signed(&reordered), Ok(Taken::Again)),
        (
            "other metadata",
            signed(&event("a", "z", "{}", time)),
            Err("tamper_on_replay"),
        ),
        (
            "another zone",
            signed(&event("a", "y", r#"{"b":1,"a":[2]}"#, time)),
            Err("tamper_on_replay"),
        ),
        (
            "no data",
            without(signed(&good), "data"),
            Err("missing_data_field"),
        ),
        (
            "no signature",
            without(signed(&good), "sig"),
            Err("hmac_verify_failed"),
        ),
        ("no JSON", signed("{"), Err("json_parse_error")),
        (
            "no id",
            signed(&event("", "z", "{}", time)),
            Err("json_parse_error"),
        ),
        (
            "no zone",
            signed(&event("b", "", "{}", time)),
            Err("json_parse_error"),
        ),
        (
            "no time",
            signed(&event("b", "z", "{}", ZERO_TIME)),
            Err("json_parse_error"),
        ),
        (
            "not a time",
            signed(&event("b", "z", "{}", "yesterday")),
            Err("json_parse_error"),
        ),
        (
            "a number for a text",
            signed(r#"{"id":1}"#),
            Err("json_parse_error"),
        ),
        (
            "NUL",
            signed(&event("b", "z", r#"{"a":"\u0000"}"#, time)),
            Err("pg_permanent_error"),
        ),
    ] {
        let found = consumer.take(&message).await;
        let matches = match (&found, expect) {
            (Ok(taken), Ok(expect)) => *taken == expect,
            (Err(reason), Err(expect)) => reason.starts_with(expect),
            _ => false,
        };
        assert!(matches, "{case}: {found:?}, expected {expect:?}");
    }
    assert!(consumer.twofold().await.is_empty());
    let later = signed(&event("a", "z", "{}", "2026-09-21T14:13:21Z"));
    assert_eq!(consumer.take(&later).await, Ok(Taken::Stored));
    assert_eq!(consumer.twofold().await, ["a"]);
}
