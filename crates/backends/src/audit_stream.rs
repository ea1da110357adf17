//! The audit stream on Redis: `caracal.audit.events`.

use std::sync::Arc;
use std::time::Duration;

use ::redis::{Cmd, Pipeline, RedisResult, Value};
use admission::ports::Clock;
use evidence::{BoxFuture, Shipment, SinkError, StreamSink};
use parking_lot::Mutex;

use crate::component::Component;
use crate::redis::{
    CONFIRM_KEY, Fault, Info, LONGEST_WAIT, Link, RedisConnector, confirmed, wait, write_and_wait,
};
use crate::token_bucket::TokenBucket;

/// The stream that the audit service reads. It is never trimmed here: that would drop evidence.
pub(crate) const STREAM: &str = "caracal.audit.events";

/// The most events in one script. The server does nothing else meanwhile, some 5 µs for each, and a replay mark waits.
const AT_ONCE: usize = 64;

/// How many refusals end the connection at once, and after what time one more does: one that stands, such as that of a
/// server without memory, would have it made again with each try.
const RENEWALS: (u32, Duration) = (2, Duration::from_secs(1));

/// Appends events in their order, each of three arguments (id, data, signature or nothing), while the stream holds fewer
/// than the first argument says; 0 is no bound. Answers how many it took, and how many entries the stream holds.
///
/// A script is carried out as a whole or refused as a whole. Of commands that are sent one by one the server may refuse
/// one and take the next: then later events would precede an earlier one in the stream.
const APPEND: &str = "local bound, taken = tonumber(ARGV[1]), 0\n\
    local length = bound > 0 and redis.call('XLEN', KEYS[1]) or -1\n\
    for at = 2, #ARGV, 3 do\n\
    if length >= bound and bound > 0 then break end\n\
    local fields = {'id', ARGV[at], 'data', ARGV[at + 1]}\n\
    if ARGV[at + 2] ~= '' then fields[5], fields[6] = 'sig', ARGV[at + 2] end\n\
    redis.call('XADD', KEYS[1], '*', unpack(fields))\n\
    taken, length = taken + 1, length + 1\n\
    end\n\
    return {taken, length}";

/// Appends events to the audit stream, in one round trip.
///
/// Its link should be its own: a batch on the link of the replay marks would delay them.
pub struct RedisAuditStream {
    link: Arc<Link>,
    limit: Duration,
    min_replicas: u32,
    /// 0 is no bound.
    max_len: u32,
    renewals: Mutex<TokenBucket>,
}

impl RedisAuditStream {
    /// `limit` bounds one batch.
    #[must_use]
    pub fn new(link: Arc<Link>, limit: Duration) -> Self {
        Self {
            link,
            limit,
            min_replicas: 0,
            max_len: 0,
            renewals: Mutex::new(TokenBucket::full(RENEWALS.0, RENEWALS.1)),
        }
    }

    /// With this many replicas that must confirm a batch before it counts as delivered.
    #[must_use]
    pub fn confirmed_by(mut self, min_replicas: u32) -> Self {
        self.min_replicas = min_replicas;
        self
    }

    /// Appends nothing while the stream holds this many entries or more (`AUDIT_STREAM_MAX_LEN`); 0 is no bound. All
    /// gateways together keep to it: the stream is asked and appended to in one step.
    #[must_use]
    pub fn bounded_by(mut self, max_len: u32) -> Self {
        self.max_len = max_len;
        self
    }

    /// The sink, on a connection of its own, with the bounds of [`Self::confirmed_by`] and [`Self::bounded_by`].
    pub fn component(
        redis: RedisConnector,
        limit: Duration,
        min_replicas: u32,
        max_len: u32,
        clock: Arc<dyn Clock>,
    ) -> Component<Arc<Self>> {
        let make = if min_replicas > 0 {
            Link::for_waits
        } else {
            Link::new
        };
        let redis = redis.for_key(STREAM.as_bytes());
        let link = make("redis: audit stream", redis, clock).component();
        let stream = Self::new(Arc::clone(&link.port), limit);
        let stream = stream.confirmed_by(min_replicas).bounded_by(max_len);
        let mut component = Component::new(Arc::new(stream));
        component.add(link);
        component
    }

    async fn send(&self, batch: &[Shipment]) -> Result<usize, SinkError> {
        let deadline = self.link.deadline(self.limit);
        if self.min_replicas > 0 {
            // First without the batch: what is not confirmed is sent again, and would fill the store with copies.
            let mut commands = Pipeline::with_capacity(2);
            // In the slot of the stream, whose server is asked.
            let key = format!("{CONFIRM_KEY}:{{{STREAM}}}");
            write_and_wait(&mut commands, &key, self.min_replicas, LONGEST_WAIT);
            self.confirmed(self.ask(commands, deadline).await?.last())?;
        }
        let mut commands = Pipeline::with_capacity(2);
        commands.add_command(self.script(batch));
        if self.min_replicas > 0 {
            wait(&mut commands, self.min_replicas, LONGEST_WAIT);
        }
        let answers = self.ask(commands, deadline).await?;
        if self.min_replicas > 0 {
            self.confirmed(answers.last())?;
        }
        let answer = answers.into_iter().next().unwrap_or(Value::Nil);
        match ::redis::from_redis_value::<(usize, i64)>(answer) {
            Ok((0, length)) if self.max_len > 0 => {
                self.leave_replica(deadline).await?;
                Err(SinkError::Full {
                    length: length.unsigned_abs(),
                    bound: self.max_len.into(),
                })
            }
            Ok((taken, _)) => Ok(taken),
            Err(error) => Err(SinkError::new(error)),
        }
    }

    fn script(&self, batch: &[Shipment]) -> Cmd {
        let mut script = ::redis::cmd("EVAL");
        script.arg(APPEND).arg(1).arg(STREAM).arg(self.max_len);
        for shipment in batch.iter().take(AT_ONCE) {
            script.arg(&shipment.id).arg(shipment.data.as_ref());
            script.arg(shipment.sig.as_deref().unwrap_or_default());
        }
        script
    }

    /// Ends the connection where the server says that it is a replica: a full stream is not written to, so that nothing
    /// else would tell in time. A user who may not ask sees it when the stream is shorter.
    async fn leave_replica(&self, deadline: Duration) -> Result<(), SinkError> {
        let question = Info::question();
        let asked = self.link.ask::<(RedisResult<String>,)>(&question, deadline);
        let ((answer,), generation) = asked.await.map_err(lost)?;
        if Info::read(answer).is_replica() {
            let cause = Info::not_primary();
            self.link.lose(generation, cause.clone());
            return Err(SinkError::new(cause.to_string()));
        }
        Ok(())
    }

    /// The answers, if none of them is a refusal. One that is ends the connection: whatever the server refuses, where
    /// the address leads by now there may be one that does not, such as the new primary.
    async fn ask(&self, mut commands: Pipeline, deadline: Duration) -> Result<Vec<Value>, SinkError> {
        commands.ignore_errors();
        let asked = self.link.ask::<Vec<RedisResult<Value>>>(&commands, deadline);
        let (answers, generation) = asked.await.map_err(lost)?;
        let answers: RedisResult<Vec<_>> = answers.into_iter().collect();
        answers.map_err(|refused| {
            let fault = self.link.fault(generation, &refused);
            let now = self.link.deadline(Duration::ZERO);
            if self.renewals.lock().take(now).is_ok() {
                self.link.lose(generation, fault.clone().into_cause());
            }
            lost(fault)
        })
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
