//! The evidence, as the audit service would see it.

use std::collections::HashSet;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::streams::StreamRangeReply;
use serde_json::Value;

use crate::clock;
use crate::failure::Result;

/// The stream of audit events.
pub(crate) const STREAM: &str = "caracal.audit.events";
/// The type of an event about the evidence itself, and about no request.
pub(crate) const CHECKPOINT: &str = "gateway_evidence_checkpoint";
/// How long delivery may lag behind the last answer.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(30);
/// Pause between two looks.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// Entries per page.
const PAGE: usize = 1000;

/// The stream of audit events.
pub(crate) struct AuditStream(MultiplexedConnection);

/// What the stream holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Evidence {
    /// Entries, checkpoints left out.
    pub(crate) entries: u64,
    /// Different event ids.
    pub(crate) events: u64,
    /// Different request ids among events of requests that were let through and carried out.
    pub(crate) executed: u64,
}

impl AuditStream {
    /// Reads over this connection.
    pub(crate) fn new(connection: MultiplexedConnection) -> Self {
        Self(connection)
    }

    /// How many entries there are.
    pub(crate) async fn len(&mut self) -> Result<u64> {
        Ok(redis::cmd("XLEN").arg(STREAM).query_async(&mut self.0).await?)
    }

    /// Waits until there are this many entries, and says how many there are then, or after half a minute.
    pub(crate) async fn delivered(&mut self, wanted: u64) -> Result<u64> {
        let deadline = clock::now() + DELIVERY_TIMEOUT;
        loop {
            let entries = self.len().await?;
            if entries >= wanted || clock::now() >= deadline {
                return Ok(entries);
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Reads every entry.
    pub(crate) async fn evidence(&mut self) -> Result<Evidence> {
        let (mut evidence, mut events, mut executed) = (Evidence::default(), HashSet::new(), HashSet::new());
        let mut after = "-".to_owned();
        loop {
            let page: StreamRangeReply = redis::cmd("XRANGE")
                .arg(STREAM)
                .arg(&[after.as_str(), "+", "COUNT"])
                .arg(PAGE)
                .query_async(&mut self.0)
                .await?;
            let Some(last) = page.ids.last() else { break };
            after = format!("({}", last.id);
            for entry in &page.ids {
                let data: String = entry.get("data").ok_or("an entry without data")?;
                let event: Value = serde_json::from_str(&data)?;
                if text(&event, "event_type")? == CHECKPOINT {
                    continue;
                }
                evidence.entries += 1;
                events.insert(text(&event, "id")?);
                if text(&event, "evaluation_status")? == "executed" && text(&event, "decision")? == "allow" {
                    executed.insert(text(&event, "request_id")?);
                }
            }
        }
        evidence.events = events.len() as u64;
        evidence.executed = executed.len() as u64;
        Ok(evidence)
    }
}

fn text(event: &Value, name: &str) -> Result<String> {
    let text = event.get(name).and_then(Value::as_str);
    Ok(text.ok_or_else(|| format!("an event without {name}"))?.to_owned())
}
