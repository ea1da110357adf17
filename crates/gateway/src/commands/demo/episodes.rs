//! What takes more than one request to show: keys that cannot be had, a live revocation, an STS
//! that fails.

use std::time::{Duration, Instant};

use devstack::{AnchorKind, MintRequest, RawAnswer, Revocation, Scope};
use tokio::time::timeout;

use super::cases::{Case, refused};
use super::client::{self, ANSWER_TIMEOUT, Ask};
use super::scene::{DARK, FRAIL, MANDATE, ZONE};
use super::stage::Stage;
use super::table::{Row, milliseconds};
use crate::clock;
use crate::commands::local::LocalError;
use crate::commands::request::{Answer, Ended};

const REVOCATION: &str = "10 revocation";
/// Failures in a row that open the circuit.
const FAILURES: usize = 5;
/// One event at once, then silence for longer than any demo.
const SILENT_STREAM: &str = "/sse?ms=600000";

/// A zone whose keys nobody has, while the STS does not give any out: no decision, so no.
pub(super) async fn keys_unavailable(stage: &Stage<'_>) -> Result<Row, LocalError> {
    let scene = stage.scene;
    let case = Case {
        gate: " 9 signature",
        sent: "a zone whose keys the STS withholds",
        ask: Ask::get("/report", &scene.mandate(DARK)?, DARK),
        expect: refused(503, "authority_unavailable", "signing keys unavailable"),
    };
    scene
        .stack
        .script()
        .set(Scope::Jwks, RawAnswer::new(503, "text/plain", "out of order"));
    let row = stage.play(case).await;
    scene.stack.script().clear(&Scope::Jwks);
    Ok(row)
}

/// Exchanges fail until the circuit opens; then the STS is left alone.
pub(super) async fn circuit(stage: &Stage<'_>) -> Result<Row, LocalError> {
    let scene = stage.scene;
    for _ in 0..FAILURES {
        // What a failing STS says is passed on; here only the last answer counts.
        let ask = Ask::get("/report", &scene.mandate(FRAIL)?, FRAIL);
        let _failed = client::ask(stage.gateway, &ask).await;
    }
    let before = scene.stack.sts().counts().exchanges;
    let case = Case {
        gate: "12 circuit",
        sent: "a request after five STS failures",
        ask: Ask::get("/report", &scene.mandate(FRAIL)?, FRAIL),
        expect: refused(503, "sts_unavailable", "sts unavailable"),
    };
    let mut row = stage.play(case).await;
    if scene.stack.sts().counts().exchanges != before {
        row.outcome = Err("the STS was asked again".to_owned());
    }
    Ok(row)
}

/// Two silent streams rest on one session; it is revoked, and both end. What comes later on that
/// session is refused.
pub(super) async fn revocation(stage: &Stage<'_>) -> Result<Vec<Row>, LocalError> {
    let scene = stage.scene;
    let first = scene.stack.mint(&scene.stack.request_for(MANDATE))?;
    let same_session = || MintRequest {
        sid: Some(first.sid.clone()),
        root_sid: Some(first.root_sid.clone()),
        ..scene.stack.request_for(MANDATE)
    };
    let with_trailers = Ask::get(SILENT_STREAM, first.token.expose(), MANDATE)
        .header("te", "trailers")
        .header("connection", "te");
    let without = Ask::get(SILENT_STREAM, &scene.mandate_as(same_session())?, MANDATE);
    let streams = (opened(stage, &with_trailers).await, opened(stage, &without).await);
    let revoked_at = clock::instant();
    scene.stack.revoke(Revocation {
        kind: AnchorKind::Session,
        id: first.sid.clone(),
        zone: ZONE.into(),
    })?;
    let ends = tokio::join!(ended(streams.0, revoked_at), ended(streams.1, revoked_at));
    let fresh = Case {
        gate: REVOCATION,
        sent: "a fresh mandate of that session",
        ask: Ask::get("/report", &scene.mandate_as(same_session())?, MANDATE),
        expect: refused(401, "invalid_token", "session revoked"),
    };
    Ok(vec![
        Row::new(
            REVOCATION,
            "a silent stream, TE: trailers; revoked",
            "ended, trailer X-Caracal-Revoked: true",
            ends.0.and_then(|(end, took)| match revoked_trailer(&end) {
                Some("true") if end.whole => Ok(format!("after {}", milliseconds(took))),
                _ => Err(told(&end)),
            }),
        ),
        Row::new(
            REVOCATION,
            "a silent stream, no TE; revoked",
            "cut, visibly incomplete (no last chunk)",
            ends.1.and_then(|(end, took)| match end.whole {
                false => Ok(format!("after {}", milliseconds(took))),
                true => Err(told(&end)),
            }),
        ),
        stage.play(fresh).await,
    ])
}

/// A stream whose first event has arrived.
async fn opened(stage: &Stage<'_>, ask: &Ask) -> Result<Answer, String> {
    let mut stream = client::open(stage.gateway, ask).await?;
    match timeout(ANSWER_TIMEOUT, stream.next()).await {
        Ok(Some(_event)) => Ok(stream),
        Ok(None) => Err(format!("{} without an event", stream.head.status)),
        Err(_elapsed) => Err("no event in time".to_owned()),
    }
}

/// How a stream ended, and how long after the revocation.
async fn ended(stream: Result<Answer, String>, since: Instant) -> Result<(Ended, Duration), String> {
    let ended = timeout(ANSWER_TIMEOUT, stream?.rest(usize::MAX)).await;
    let took = clock::instant().duration_since(since);
    ended
        .map(|end| (end, took))
        .map_err(|_| format!("still open {} after the revocation", milliseconds(took)))
}

fn revoked_trailer(end: &Ended) -> Option<&str> {
    end.trailers.as_ref()?.get("x-caracal-revoked")?.to_str().ok()
}

fn told(end: &Ended) -> String {
    format!("whole: {}, trailers: {:?}", end.whole, end.trailers)
}
