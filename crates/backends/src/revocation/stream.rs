//! The reader of the streams.
//!
//! A plain `XREAD` on a connection of its own: every replica sees every message, and nothing is left behind on the
//! server. In a cluster the streams may lie on different servers, so each has a connection of its own.

mod cursor;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ::redis::{Cmd, FromRedisValue, Pipeline};
use admission::ports::Cause;
use futures_util::TryFutureExt as _;
use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;

use super::message::{Order, Stream, read, zone};
use super::retry::Retry;
use super::signature::{Fields, StreamsKey};
use super::state::{Inner, RevocationState};
use crate::component::milliseconds;
use crate::local;
use crate::pause::within;
use crate::redis::{self, RedisConnector};
use cursor::{Connection, Cursor, Extent, Id, Progress};

/// How long one read waits for a message. A dead connection is noticed this much later, and an
/// answer's time.
const BLOCK: Duration = Duration::from_secs(2);
/// How many messages of one stream come in one answer.
const COUNT: usize = 500;
/// How far back the revocations are read at start: no mandate from before that is decided. A message
/// may be the only evidence of a revocation.
const BACKLOG: Duration = Duration::from_secs(24 * 3600);
/// A connection that lasted less than this may be ended by its server each time.
const SHORT_LIFE: Duration = Duration::from_secs(1);

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

/// What one `XREAD` brought.
#[derive(Clone, Copy, Default)]
struct Step {
    /// How many messages.
    read: usize,
    /// Whether some stream may hold more of them.
    full: bool,
}

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
        if !self.redis.is_cluster() {
            return self.follow_over(&self.redis, &Stream::ALL).await;
        }
        let each = Stream::ALL.map(|stream| async move {
            let redis = self.redis.for_key(stream.name().as_bytes());
            self.follow_over(&redis, &[stream]).await;
        });
        join_all(each).await;
    }

    /// Follows these streams over one connection after the other.
    async fn follow_over(&self, redis: &RedisConnector, streams: &[Stream]) {
        let state = &self.state;
        let mut cursors: Vec<Cursor> = streams.iter().copied().map(Cursor::new).collect();
        let mut retry = Retry::new(
            "reading the revocation streams",
            Duration::from_millis(100),
            Duration::from_secs(2),
        );
        loop {
            let mut connection = match redis.connect().await {
                Ok(connection) => connection,
                Err(cause) => {
                    self.failed(&cause, &mut retry);
                    retry.pause(state).await;
                    continue;
                }
            };
            let since = state.clock.now().monotonic;
            let Err(cause) = self.follow(&mut cursors, &mut connection, &mut retry).await;
            self.failed(&cause, &mut retry);
            let lived = state.clock.now().monotonic.saturating_sub(since);
            // One that lived is made anew at once; a server that ends every connection is not asked in a loop.
            if lived < SHORT_LIFE {
                retry.short_pause().await;
            }
        }
    }

    fn failed(&self, cause: &Cause, retry: &mut Retry) {
        if !cause.is_local() {
            self.state.counters.lock().stream_errors += 1;
        }
        retry.failed(cause, self.state.clock.now().monotonic);
    }

    async fn follow(
        &self,
        cursors: &mut [Cursor],
        connection: &mut redis::Connection,
        retry: &mut Retry,
    ) -> Result<std::convert::Infallible, Cause> {
        let newest = self.locate(cursors, connection, Connection::New).await?;
        if cursors.iter().any(|cursor| cursor.incomplete) {
            self.state.incomplete(streams(cursors));
        }
        while cursors
            .iter()
            .zip(&newest)
            .any(|(cursor, newest)| newest.is_some_and(|newest| cursor.at() < newest))
        {
            if self.step(cursors, connection, None).await?.read == 0 {
                return Err(Cause::new("messages were deleted before they were read"));
            }
        }
        if !self.complete(cursors) {
            // The server of before may have taken an announcement down with it, and the ids do not show that.
            self.state.want_snapshot();
        }
        // Everything up to where the streams stood is applied: that is contact, before any wait for more.
        self.state.touch(streams(cursors));
        retry.succeeded();
        let mut block = Some(BLOCK);
        loop {
            let step = self.step(cursors, connection, block).await?;
            self.locate(cursors, connection, Connection::Same).await?;
            self.complete(cursors);
            // Where an answer is full there may be more, which is not applied yet.
            block = (!step.full).then_some(BLOCK);
            if !step.full {
                self.state.touch(streams(cursors));
            }
        }
    }

    /// Reading goes on without a gap from here: where there was one, a snapshot makes up for it. Returns whether there was.
    fn complete(&self, cursors: &mut [Cursor]) -> bool {
        let had_gap = cursors.iter().any(|cursor| cursor.incomplete);
        if had_gap {
            self.state.complete_from_here(streams(cursors));
            for cursor in cursors {
                cursor.incomplete = false;
            }
        }
        had_gap
    }

    /// Finds out where the streams end, and whether messages are gone that were not read.
    async fn locate(
        &self,
        cursors: &mut [Cursor],
        connection: &mut redis::Connection,
        which: Connection,
    ) -> Result<Vec<Option<Id>>, Cause> {
        let mut commands = Pipeline::with_capacity(cursors.len());
        for cursor in cursors.iter() {
            commands.cmd("XINFO").arg("STREAM").arg(cursor.stream.name());
        }
        // A stream that does not exist is an error of its own command.
        commands.ignore_errors();
        let limit = self.redis.answer_timeout();
        type Answers = Vec<::redis::RedisResult<HashMap<String, ::redis::Value>>>;
        let answers: Answers = answer(commands.query_async(connection), limit).await?;
        let backlog = Id::at(self.state.clock.now().unix.saturating_sub(BACKLOG));
        let mut newest = Vec::with_capacity(cursors.len());
        for (cursor, answer) in cursors.iter_mut().zip(answers) {
            let extent = Extent::read(answer)?;
            newest.push(extent.newest);
            if cursor.locate(&extent, backlog, which) == Progress::MessagesMayBeLost {
                self.state.counters.lock().gaps += 1;
                tracing::warn!(
                    stream = cursor.stream.name(),
                    "messages may be lost: a snapshot is needed"
                );
            }
        }
        Ok(newest)
    }

    /// One `XREAD`; applies the messages that it brings.
    ///
    /// A process that was stopped for longer than an answer may take finds the answer waiting for it, but
    /// not what was trimmed before it could ask again: it must look where the streams begin now.
    async fn step(
        &self,
        cursors: &mut [Cursor],
        connection: &mut redis::Connection,
        block: Option<Duration>,
    ) -> Result<Step, Cause> {
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
            return Err(Cause::local(format!("this process stood still for {took:?}")));
        }
        let mut step = Step::default();
        for (name, messages) in batch.unwrap_or_default() {
            let Some(cursor) = cursors.iter_mut().find(|cursor| cursor.stream.name() == name) else {
                continue;
            };
            for (id, fields) in &messages {
                let id = Id::parse(id)?;
                self.apply(cursor.stream, id, fields).await;
                cursor.advance(id);
            }
            step.read += messages.len();
            step.full |= messages.len() >= COUNT;
        }
        Ok(step)
    }

    async fn apply(&self, stream: Stream, id: Id, fields: &[(Vec<u8>, Vec<u8>)]) {
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
                self.state.want_snapshot();
            }
            Order::Revoke { anchors, cascades } => {
                let zone = zone(&fields);
                for (kind, id) in anchors {
                    self.state.announce(kind, &id, zone).await;
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

fn streams(cursors: &[Cursor]) -> impl Iterator<Item = Stream> {
    cursors.iter().map(|cursor| cursor.stream)
}

async fn answer<T: FromRedisValue>(
    command: impl Future<Output = ::redis::RedisResult<T>>,
    limit: Duration,
) -> Result<T, Cause> {
    let command = command.map_err(|error| local::cause(format!("redis: {error}"), &error));
    within("redis", limit, command).await
}
