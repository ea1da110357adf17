//! The reader of the streams.
//!
//! A plain `XREAD` on a connection of its own: every replica sees every message, and nothing is left
//! behind on the server.

mod cursor;

use std::sync::Arc;
use std::time::Duration;

use ::redis::{Cmd, FromRedisValue, Pipeline};
use admission::ports::Cause;
use futures_util::TryFutureExt as _;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::message::{Order, Stream, read};
use super::signature::{Fields, StreamsKey};
use super::state::{Inner, RevocationState};
use crate::component::milliseconds;
use crate::pause::{Backoff, within};
use crate::redis::{Connection, RedisConnector};
use cursor::{Cursor, Id, Progress};

/// How long one read waits for a message. A dead connection is noticed this much later, and an
/// answer's time.
const BLOCK: Duration = Duration::from_secs(2);
/// How many messages of one stream come in one answer.
const COUNT: usize = 500;
/// How far back the revocations are read at start: the longest life of a mandate. A message of before
/// may be the only evidence of its revocation.
const BACKLOG: Duration = Duration::from_secs(24 * 3600);

/// Called with the zone whose signing keys have changed. Must not block.
pub type KeysInvalidated = Box<dyn Fn(&str) + Send + Sync>;

/// Follows the streams and applies what they say.
pub struct StreamReader {
    state: Arc<Inner>,
    redis: RedisConnector,
    key: StreamsKey,
    keys_invalidated: KeysInvalidated,
}

/// One answer of `XREAD`: streams, their messages, the fields.
type Batch = Vec<(String, Vec<(String, Vec<(Vec<u8>, Vec<u8>)>)>)>;

impl StreamReader {
    /// Follows the streams of this server for this state.
    #[must_use]
    pub fn new(
        state: &RevocationState,
        redis: RedisConnector,
        key: StreamsKey,
        keys_invalidated: KeysInvalidated,
    ) -> Self {
        Self {
            state: Arc::clone(&state.inner),
            redis,
            key,
            keys_invalidated,
        }
    }

    /// Runs until shutdown.
    pub async fn run(self, shutdown: CancellationToken) {
        shutdown.run_until_cancelled(self.follow_forever()).await;
    }

    async fn follow_forever(&self) {
        let mut cursors = Stream::ALL.map(Cursor::new);
        let mut pauses = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
        loop {
            let Err(cause) = self.follow(&mut cursors, &mut pauses).await;
            self.state.counters.lock().stream_errors += 1;
            tracing::warn!(%cause, "revocation streams: connection failed");
            sleep(pauses.pause()).await;
        }
    }

    async fn follow(
        &self,
        cursors: &mut [Cursor; 4],
        pauses: &mut Backoff,
    ) -> Result<std::convert::Infallible, Cause> {
        let mut connection = self.redis.connect().await?;
        let newest = self.locate(cursors, &mut connection).await?;
        while cursors
            .iter()
            .zip(newest)
            .any(|(cursor, newest)| cursor.at() < newest)
        {
            if self.step(cursors, &mut connection, None).await? == 0 {
                return Err(Cause::new("messages were deleted before they were read"));
            }
        }
        if cursors.iter().any(|cursor| cursor.incomplete) {
            self.state.complete_from_here();
            for cursor in cursors.iter_mut() {
                cursor.incomplete = false;
            }
        }
        // Everything up to where the streams stood is applied: that is contact, before any wait for more.
        self.state.touch();
        loop {
            self.step(cursors, &mut connection, Some(BLOCK)).await?;
            pauses.reset();
        }
    }

    /// Finds out where the streams stand, and whether messages are gone that were not read.
    async fn locate(&self, cursors: &mut [Cursor; 4], connection: &mut Connection) -> Result<[Id; 4], Cause> {
        let mut commands = Pipeline::with_capacity(2 * cursors.len());
        for cursor in cursors.iter() {
            let name = cursor.stream.name();
            let oldest = commands.cmd("XRANGE").arg(name).arg("-").arg("+");
            oldest.arg("COUNT").arg(1);
            let newest = commands.cmd("XREVRANGE").arg(name).arg("+").arg("-");
            newest.arg("COUNT").arg(1);
        }
        let limit = self.redis.answer_timeout();
        type Ends = Vec<Vec<(String, ::redis::Value)>>;
        let ends: Ends = answer(commands.query_async(connection), limit).await?;
        let mut ends = ends.into_iter().map(|entries| match entries.first() {
            None => Ok(None),
            Some((id, _)) => Id::parse(id).map(Some),
        });
        let mut newest = [Id::START; 4];
        let backlog = Id::at(self.state.clock.now().unix.saturating_sub(BACKLOG));
        for (cursor, end) in cursors.iter_mut().zip(&mut newest) {
            let oldest = ends.next().transpose()?.flatten();
            let last = ends.next().transpose()?.flatten();
            *end = last.unwrap_or(Id::START);
            if cursor.locate(oldest, last, backlog) == Progress::MessagesMayBeLost {
                self.state.counters.lock().gaps += 1;
                tracing::warn!(
                    stream = cursor.stream.name(),
                    "messages may be lost: a snapshot is needed"
                );
            }
        }
        if cursors.iter().any(|cursor| cursor.incomplete) {
            self.state.incomplete();
        }
        Ok(newest)
    }

    /// One `XREAD`; applies the messages that it brings, and returns how many.
    ///
    /// A process that was stopped for longer than an answer may take finds the answer waiting for it, but
    /// not what was trimmed before it could ask again: it must look where the streams begin now.
    async fn step(
        &self,
        cursors: &mut [Cursor; 4],
        connection: &mut Connection,
        block: Option<Duration>,
    ) -> Result<usize, Cause> {
        let mut command = Cmd::new();
        command.arg("XREAD").arg("COUNT").arg(COUNT);
        if let Some(block) = block {
            command.arg("BLOCK").arg(milliseconds(block));
        }
        command.arg("STREAMS");
        for cursor in cursors.iter() {
            command.arg(cursor.stream.name());
        }
        for cursor in cursors.iter() {
            command.arg(cursor.at().to_string());
        }
        let limit = block.unwrap_or_default() + self.redis.answer_timeout();
        let asked = self.state.clock.now().monotonic;
        let batch: Option<Batch> = answer(command.query_async(connection), limit).await?;
        let took = self.state.clock.now().monotonic.saturating_sub(asked);
        if took > limit {
            return Err(Cause::new(format!("this process stood still for {took:?}")));
        }
        let mut read = 0;
        for (name, messages) in batch.unwrap_or_default() {
            let Some(cursor) = cursors.iter_mut().find(|cursor| cursor.stream.name() == name) else {
                continue;
            };
            for (id, fields) in &messages {
                let id = Id::parse(id)?;
                self.apply(cursor.stream, id, fields);
                cursor.advance(id);
            }
            read += messages.len();
        }
        self.state.touch();
        Ok(read)
    }

    fn apply(&self, stream: Stream, id: Id, fields: &[(Vec<u8>, Vec<u8>)]) {
        let counters = &self.state.counters;
        let fields: Fields<'_> = fields
            .iter()
            .map(|(name, value)| (name.as_slice(), value.as_slice()))
            .collect();
        match read(&self.key, stream, &fields) {
            Order::Ignore => {}
            Order::Drop => {
                counters.lock().invalid_signatures += 1;
                tracing::warn!(stream = stream.name(), %id, "message dropped: its signature fails");
            }
            Order::Ambiguous => {
                counters.lock().ambiguous += 1;
                tracing::warn!(stream = stream.name(), %id, "message not applied: it could mean two things");
                self.state.want_snapshot();
            }
            Order::Nameless => {
                counters.lock().nameless += 1;
                tracing::warn!(stream = stream.name(), %id, "message names nothing");
            }
            Order::Revoke { anchors, cascades } => {
                for (kind, name) in anchors {
                    self.state.announce(kind, name);
                }
                if cascades {
                    self.state.want_snapshot();
                }
                let age = self.state.clock.now().unix.saturating_sub(id.written());
                let mut counters = counters.lock();
                counters.messages += 1;
                counters.propagation_milliseconds = milliseconds(age);
            }
            Order::Resume => {
                counters.lock().messages += 1;
                self.state.want_snapshot();
            }
            Order::RefetchKeys(zone) => (self.keys_invalidated)(zone),
        }
    }
}

async fn answer<T: FromRedisValue>(
    command: impl Future<Output = ::redis::RedisResult<T>>,
    limit: Duration,
) -> Result<T, Cause> {
    let command = command.map_err(|error| Cause::new(format!("redis: {error}")));
    within("redis", limit, command).await
}
