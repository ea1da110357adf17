//! Reading the audit stream: what was appended, from any entry on, and what comes.
//!
//! The commands are those that a gateway's own user may send (`docs/redis.md`).

use std::collections::HashMap;
use std::time::Duration;

use ::redis::{FromRedisValue, RedisResult};
use admission::ports::Cause;

use crate::audit_stream::STREAM;
use crate::component::milliseconds;
use crate::local;
use crate::pause::within;
use crate::redis::{Connection, RedisConnector};

/// The most entries of one answer: some 2 MiB at the greatest size of events.
const COUNT: usize = 200;
/// How long the server is asked to wait for entries.
const BLOCK: Duration = Duration::from_secs(2);

/// Reads the audit stream on a connection of its own.
pub struct AuditReader {
    connection: Connection,
    answer_timeout: Duration,
}

/// One entry of the audit stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// The entry's id in the stream, to go on behind it.
    pub entry: String,
    /// The event's id; empty where the entry has none.
    pub id: String,
    /// The event's exact bytes; empty where the entry has none.
    pub data: Vec<u8>,
    /// The event's signature.
    pub sig: Option<String>,
}

/// One answer of `XREAD`: streams, their entries, the fields.
type Answer = Option<Vec<(String, Vec<(String, HashMap<String, Vec<u8>>)>)>>;

impl AuditReader {
    /// Where a stream begins.
    pub const START: &'static str = "0-0";

    /// Connects.
    ///
    /// # Errors
    /// Redis cannot be reached within `limit`.
    pub async fn connect(redis: &RedisConnector, limit: Duration) -> Result<Self, Cause> {
        let server = redis.for_key(STREAM.as_bytes());
        Ok(Self {
            connection: within("redis", limit, server.connect()).await?,
            answer_timeout: redis.answer_timeout(),
        })
    }

    /// The last entry's id: what comes after it is new.
    ///
    /// # Errors
    /// As [`AuditReader::after`].
    pub async fn last(&mut self) -> Result<String, Cause> {
        let mut command = ::redis::cmd("XINFO");
        command.arg("STREAM").arg(STREAM);
        let limit = self.answer_timeout;
        let asked = async {
            match command
                .query_async::<HashMap<String, ::redis::Value>>(&mut self.connection)
                .await
            {
                Ok(facts) => Ok(facts
                    .get("last-generated-id")
                    .and_then(|id| String::from_redis_value(id.clone()).ok())),
                // There is no stream before the first event.
                Err(error) if error.code() == Some("ERR") => Ok(None),
                Err(error) => Err(local::cause(format!("redis: {error}"), &error)),
            }
        };
        let last = within("redis", limit, asked).await?;
        Ok(last.unwrap_or_else(|| Self::START.to_owned()))
    }

    /// The entries behind this one, oldest first, but not too many at once; none where it is the last.
    ///
    /// # Errors
    /// Redis refuses, or does not answer in time.
    pub async fn after(&mut self, entry: &str) -> Result<Vec<AuditEntry>, Cause> {
        self.read(entry, None).await
    }

    /// The same, but waits a while for the next one where it is the last.
    ///
    /// # Errors
    /// As [`AuditReader::after`].
    pub async fn next(&mut self, entry: &str) -> Result<Vec<AuditEntry>, Cause> {
        self.read(entry, Some(BLOCK)).await
    }

    async fn read(&mut self, entry: &str, block: Option<Duration>) -> Result<Vec<AuditEntry>, Cause> {
        let mut command = ::redis::cmd("XREAD");
        command.arg("COUNT").arg(COUNT);
        if let Some(block) = block {
            command.arg("BLOCK").arg(milliseconds(block));
        }
        command.arg("STREAMS").arg(STREAM).arg(entry);
        let limit = self.answer_timeout + block.unwrap_or_default();
        let asked = async {
            let answer: RedisResult<Answer> = command.query_async(&mut self.connection).await;
            answer.map_err(|error| local::cause(format!("redis: {error}"), &error))
        };
        let streams = within("redis", limit, asked).await?.unwrap_or_default();
        let entries = streams.into_iter().flat_map(|(_, entries)| entries);
        Ok(entries
            .map(|(entry, fields)| AuditEntry::new(entry, fields))
            .collect())
    }
}

impl AuditEntry {
    fn new(entry: String, mut fields: HashMap<String, Vec<u8>>) -> Self {
        let mut text = |name: &str| {
            let value = fields.remove(name);
            value.map(|value| String::from_utf8_lossy(&value).into_owned())
        };
        let (id, sig) = (text("id").unwrap_or_default(), text("sig"));
        let data = fields.remove("data").unwrap_or_default();
        Self { entry, id, data, sig }
    }
}
