//! The audit stream on Redis: `caracal.audit.events`.

use std::sync::Arc;
use std::time::Duration;

use ::redis::RedisResult;
use admission::ports::Clock;
use evidence::{BoxFuture, Shipment, SinkError, StreamSink};

use crate::component::Component;
use crate::redis::{Link, RedisConnector};

/// The stream that the audit service reads. It is never trimmed here: that would drop evidence.
const STREAM: &str = "caracal.audit.events";

/// Appends events to the audit stream, a batch in one round trip.
///
/// Its link should be its own: a batch on the link of the replay marks would delay them.
pub struct RedisAuditStream {
    link: Arc<Link>,
    limit: Duration,
}

impl RedisAuditStream {
    /// `limit` bounds one batch.
    #[must_use]
    pub fn new(link: Arc<Link>, limit: Duration) -> Self {
        Self { link, limit }
    }

    /// The sink, on a connection of its own.
    pub fn component(redis: RedisConnector, limit: Duration, clock: Arc<dyn Clock>) -> Component<Arc<Self>> {
        let link = Link::component("redis: audit stream", redis, clock);
        let mut component = Component::new(Arc::new(Self::new(Arc::clone(&link.port), limit)));
        component.add(link);
        component
    }

    async fn send(&self, batch: &[Shipment]) -> Result<usize, SinkError> {
        let mut commands = ::redis::Pipeline::with_capacity(batch.len());
        commands.ignore_errors();
        for shipment in batch {
            let add = commands.cmd("XADD").arg(STREAM).arg("*");
            add.arg("id").arg(&shipment.id);
            add.arg("data").arg(shipment.data.as_ref());
            if let Some(sig) = &shipment.sig {
                add.arg("sig").arg(sig);
            }
        }
        let deadline = self.link.deadline(self.limit);
        let (answers, _) = self
            .link
            .ask::<Vec<RedisResult<String>>>(&commands, deadline)
            .await
            .map_err(|fault| SinkError::new(fault.into_cause().to_string()))?;
        // The order is kept by sending again from the first refusal on.
        let accepted = answers.iter().take_while(|answer| answer.is_ok()).count();
        match answers.into_iter().next() {
            Some(Err(refused)) => Err(SinkError::new(refused.to_string())),
            _ => Ok(accepted),
        }
    }
}

impl StreamSink for RedisAuditStream {
    fn append<'a>(&'a self, batch: &'a [Shipment]) -> BoxFuture<'a, Result<usize, SinkError>> {
        Box::pin(self.send(batch))
    }
}
