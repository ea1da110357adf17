//! Where requests are sent and judged.

use std::net::SocketAddr;

use super::cases::Case;
use super::client;
use super::scene::Scene;
use super::table::{Row, milliseconds};
use crate::clock;

/// A caller before a running gateway, and everything behind it.
pub(super) struct Stage<'s> {
    pub(super) gateway: SocketAddr,
    pub(super) scene: &'s Scene,
}

impl Stage<'_> {
    /// Sends the request of a case and judges the answer.
    pub(super) async fn play(&self, case: Case) -> Row {
        let Case {
            gate,
            sent,
            ask,
            expect,
        } = case;
        let before = self.scene.stack.upstream().counts().requests;
        let start = clock::instant();
        let replied = client::ask(self.gateway, &ask).await;
        let took = clock::instant().duration_since(start);
        let outcome = replied.and_then(|reply| {
            expect.judge(self.scene, &ask, &reply, before)?;
            Ok(format!("{}  {}", reply.status, milliseconds(took)))
        });
        Row::new(gate, sent, expect.words(), outcome)
    }

    /// Plays cases one after the other.
    pub(super) async fn play_all(&self, cases: Vec<Case>) -> Vec<Row> {
        let mut rows = Vec::with_capacity(cases.len());
        for case in cases {
            rows.push(self.play(case).await);
        }
        rows
    }
}
