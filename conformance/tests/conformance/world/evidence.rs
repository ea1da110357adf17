//! The audit events that reached Redis.

use super::World;
use super::signing::hmac_sha256_hex;
use redis::aio::MultiplexedConnection;
use redis::streams::{StreamId, StreamRangeReply};
use serde_json::Value;
use std::collections::HashSet;
use testkit::wait::until;

/// The event type of a checkpoint.
pub(crate) const CHECKPOINT: &str = "gateway_evidence_checkpoint";

/// An event whose signature holds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Event {
    /// The id of the stream entry.
    pub(crate) entry: String,
    /// The signed text.
    pub(crate) data: String,
    /// The same, parsed.
    pub(crate) json: Value,
}

impl Event {
    /// A member's text.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.json[name].as_str().unwrap_or_default()
    }

    /// A member of `metadata_json`.
    pub(crate) fn metadata(&self, name: &str) -> &Value {
        &self.json["metadata_json"][name]
    }

    /// What happened, in one word pair: `event_type` and `evaluation_status`.
    pub(crate) fn kind(&self) -> (&str, &str) {
        (self.text("event_type"), self.text("evaluation_status"))
    }
}

impl World {
    /// Every audit event of a request in the stream so far, oldest first. Checkpoints are about no request.
    ///
    /// # Panics
    /// As [`Self::all_events`].
    pub(crate) async fn events(&self) -> Vec<Event> {
        self.events_at(&mut self.redis().await).await
    }

    /// The same of the stream at another server.
    pub(crate) async fn events_at(&self, redis: &mut MultiplexedConnection) -> Vec<Event> {
        let mut events = self.all_events_at(redis).await;
        events.retain(|event| event.text("event_type") != CHECKPOINT);
        events
    }

    /// The audit stream as it is.
    pub(crate) async fn entries(&self) -> Vec<StreamId> {
        entries(&mut self.redis().await).await
    }

    /// Every audit event in the stream so far, oldest first. Delivery is at least once: a copy, which has the same
    /// bytes, is left out.
    ///
    /// # Panics
    /// When one does not have the three fields `id`, `data`, `sig`, or its signature does not hold.
    pub(crate) async fn all_events(&self) -> Vec<Event> {
        self.all_events_at(&mut self.redis().await).await
    }

    /// The same of the stream at another server.
    pub(crate) async fn all_events_at(&self, redis: &mut MultiplexedConnection) -> Vec<Event> {
        let key = self.variable("AUDIT_HMAC_KEY");
        let event = |entry: StreamId| {
            let field = |name: &str| {
                entry
                    .get::<String>(name)
                    .unwrap_or_else(|| panic!("no field {name} in {}", entry.id))
            };
            let data = field("data");
            assert_eq!(field("sig"), hmac_sha256_hex(key, data.as_bytes()), "{data}");
            let json: Value = serde_json::from_str(&data).expect("an event in JSON");
            assert_eq!(json["id"].as_str(), Some(field("id").as_str()), "{data}");
            assert_eq!(entry.map.len(), 3, "{data}");
            Event {
                entry: entry.id.clone(),
                data,
                json,
            }
        };
        let mut seen = HashSet::new();
        let mut events: Vec<_> = entries(redis).await.into_iter().map(event).collect();
        events.retain(|event: &Event| seen.insert(event.data.clone()));
        events
    }

    /// The events of one request, once there are `count` of them.
    pub(crate) async fn events_of(&self, request_id: &str, count: usize) -> Vec<Event> {
        until("the events of a request", async || {
            let mut events = self.events().await;
            events.retain(|event| event.text("request_id") == request_id);
            (events.len() >= count).then_some(events)
        })
        .await
    }
}

async fn entries(redis: &mut MultiplexedConnection) -> Vec<StreamId> {
    let entries: StreamRangeReply = redis::cmd("XRANGE")
        .arg("caracal.audit.events")
        .arg("-")
        .arg("+")
        .query_async(redis)
        .await
        .expect("an answer of Redis");
    entries.ids
}
