//! Revocations as the services behind the gateway announce them.

use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
use data_encoding::HEXLOWER;
use redis::aio::MultiplexedConnection;

use crate::failure::Result;

const STREAM: &str = "caracal.sessions.revoke";

/// What is revoked.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Anchor {
    /// An authority record.
    Session,
    /// A delegation edge.
    Edge,
}

/// Announces revocations in Redis, signed.
pub(crate) struct Announcer {
    redis: MultiplexedConnection,
    key: Key,
}

impl Announcer {
    /// Signs with this key.
    pub(crate) fn new(redis: MultiplexedConnection, key: [u8; 32]) -> Self {
        let key = Key::new(HMAC_SHA256, &key);
        Self { redis, key }
    }

    /// Announces that an anchor is revoked; returns when Redis has it.
    pub(crate) async fn revoke(&mut self, anchor: Anchor, id: &str, zone: &str) -> Result<()> {
        let name = match anchor {
            Anchor::Session => "session_id",
            Anchor::Edge => "delegation_edge_id",
        };
        let text = format!("{STREAM}\n{name}={id}\nzone_id={zone}\n");
        let signature = HEXLOWER.encode(sign(&self.key, text.as_bytes()).as_ref());
        let fields = [(name, id), ("zone_id", zone), ("_sig", &signature)];
        let mut command = redis::cmd("XADD");
        command.arg(STREAM).arg("*").arg(&fields);
        Ok(command.query_async(&mut self.redis).await?)
    }
}
