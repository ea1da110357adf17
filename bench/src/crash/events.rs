//! The audit stream, as an auditor reads it.

use aws_lc_rs::hmac::{HMAC_SHA256, Key, verify};
use data_encoding::HEXLOWER;
use redis::aio::MultiplexedConnection;
use redis::streams::{StreamId, StreamRangeReply};
use serde_json::Value;

use crate::audit::{CHECKPOINT, STREAM};
use crate::failure::Result;

/// Entries per page.
const PAGE: usize = 1000;

/// One entry of the stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Event {
    /// The event's own id.
    pub(super) id: String,
    /// Whose event it is.
    pub(super) request_id: String,
    /// `allow` or `deny`.
    pub(super) decision: String,
    /// How it ended.
    pub(super) status: String,
    /// The signed text.
    pub(super) data: String,
    /// Whether it stands for several refusals, and comes after the last of them.
    pub(super) is_sum: bool,
    /// Whether the signature holds, and the entry is what the contract says.
    pub(super) signed: bool,
}

/// The events of the stream in its order; each look reads on from the one before.
pub(super) struct Events {
    key: Key,
    after: String,
    /// What was read so far.
    pub(super) read: Vec<Event>,
}

impl Events {
    /// Signed with this key.
    pub(super) fn new(key: &[u8]) -> Self {
        Self {
            key: Key::new(HMAC_SHA256, key),
            after: "-".to_owned(),
            read: Vec::new(),
        }
    }

    /// Reads on to the end of the stream.
    pub(super) async fn read_on(&mut self, redis: &mut MultiplexedConnection) -> Result<()> {
        loop {
            let page: StreamRangeReply = redis::cmd("XRANGE")
                .arg(STREAM)
                .arg(&[self.after.as_str(), "+", "COUNT"])
                .arg(PAGE)
                .query_async(redis)
                .await?;
            let Some(last) = page.ids.last() else {
                return Ok(());
            };
            self.after = format!("({}", last.id);
            for entry in &page.ids {
                let event = self.event(entry);
                self.read.extend(event);
            }
        }
    }

    fn event(&self, entry: &StreamId) -> Option<Event> {
        let field = |name: &str| entry.get::<String>(name).unwrap_or_default();
        let data = field("data");
        let json: Value = serde_json::from_str(&data).unwrap_or_default();
        let text = |name: &str| {
            let text = json.get(name).and_then(Value::as_str);
            text.unwrap_or_default().to_owned()
        };
        if text("event_type") == CHECKPOINT {
            return None;
        }
        let signature = HEXLOWER.decode(field("sig").as_bytes()).unwrap_or_default();
        let holds = verify(&self.key, data.as_bytes(), &signature).is_ok();
        Some(Event {
            signed: holds && entry.map.len() == 3 && field("id") == text("id"),
            is_sum: json.pointer("/metadata_json/suppressed").is_some(),
            id: text("id"),
            request_id: text("request_id"),
            decision: text("decision"),
            status: text("evaluation_status"),
            data,
        })
    }
}
