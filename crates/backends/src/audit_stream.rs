//! The audit stream on Redis: `caracal.audit.events`.

use std::sync::Arc;
use std::time::Duration;

use ::redis::{RedisResult, Value};
use admission::ports::Clock;
use evidence::{BoxFuture, Shipment, SinkError, StreamSink};

use crate::component::Component;
use crate::redis::{Fault, LONGEST_WAIT, Link, RedisConnector, confirmed, wait, write_and_wait};

/// The stream that the audit service reads. It is never trimmed here: that would drop evidence.
pub(crate) const STREAM: &str = "caracal.audit.events";

/// Appends events to the audit stream, a batch in one round trip.
///
/// Its link should be its own: a batch on the link of the replay marks would delay them.
pub struct RedisAuditStream {
    link: Arc<Link>,
    limit: Duration,
    min_replicas: u32,
}

impl RedisAuditStream {
    /// `limit` bounds one batch.
    #[must_use]
    pub fn new(link: Arc<Link>, limit: Duration) -> Self {
        Self {
            link,
            limit,
            min_replicas: 0,
        }
    }

    /// With this many replicas that must confirm a batch before it counts as delivered.
    #[must_use]
    pub fn confirmed_by(mut self, min_replicas: u32) -> Self {
        self.min_replicas = min_replicas;
        self
    }

    /// The sink, on a connection of its own.
    pub fn component(
        redis: RedisConnector,
        limit: Duration,
        min_replicas: u32,
        clock: Arc<dyn Clock>,
    ) -> Component<Arc<Self>> {
        let make = if min_replicas > 0 {
            Link::for_waits
        } else {
            Link::new
        };
        let link = make("redis: audit stream", redis, clock).component();
        let stream = Self::new(Arc::clone(&link.port), limit).confirmed_by(min_replicas);
        let mut component = Component::new(Arc::new(stream));
        component.add(link);
        component
    }

    async fn send(&self, batch: &[Shipment]) -> Result<usize, SinkError> {
        let deadline = self.link.deadline(self.limit);
        if self.min_replicas > 0 {
            // First without the batch: what is not confirmed is sent again, and would fill the store with copies.
            self.replicas_follow(deadline).await?;
        }
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
        if self.min_replicas > 0 {
            wait(&mut commands, self.min_replicas, LONGEST_WAIT);
        }
        let (mut answers, _) = self
            .link
            .ask::<Vec<RedisResult<Value>>>(&commands, deadline)
            .await
            .map_err(lost)?;
        if self.min_replicas > 0 {
            self.confirmed(answers.pop().and_then(Result::ok).as_ref())?;
        }
        // The order is kept by sending again from the first refusal on.
        let accepted = answers.iter().take_while(|answer| answer.is_ok()).count();
        match answers.into_iter().next() {
            Some(Err(refused)) => Err(SinkError::new(refused.to_string())),
            _ => Ok(accepted),
        }
    }

    async fn replicas_follow(&self, deadline: Duration) -> Result<(), SinkError> {
        let mut commands = ::redis::pipe();
        write_and_wait(&mut commands, self.min_replicas, LONGEST_WAIT);
        let ((replicas,), _) = self
            .link
            .ask::<(Value,)>(&commands, deadline)
            .await
            .map_err(lost)?;
        self.confirmed(Some(&replicas))
    }

    fn confirmed(&self, answer: Option<&Value>) -> Result<(), SinkError> {
        if confirmed(answer, self.min_replicas) {
            return Ok(());
        }
        Err(SinkError::new(format!(
            "fewer than {} replicas confirmed in time (REPLAY_MIN_REPLICAS)",
            self.min_replicas
        )))
    }
}

fn lost(fault: Fault) -> SinkError {
    SinkError::new(fault.into_cause().to_string())
}

impl StreamSink for RedisAuditStream {
    fn append<'a>(&'a self, batch: &'a [Shipment]) -> BoxFuture<'a, Result<usize, SinkError>> {
        Box::pin(self.send(batch))
    }
}
