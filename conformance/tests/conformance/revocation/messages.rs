//! Only what is signed, and has one reading, revokes.

use super::{AGENTS, REVOKE, again, present, silent_stream, world};
use crate::hand::HandUpstream;
use crate::report::Report;
use crate::world::{NONE, ZONE};
use std::time::Duration;
use testkit::http::{self, Piece};

#[tokio::test]
async fn revocation_messages_without_a_good_signature_change_nothing() {
    let upstream = HandUpstream::start().await;
    let world = world(&upstream).await;
    let mut report = Report::default();
    let kept = world.mint(NONE);
    let marker = world.mint(NONE);
    let mut stream = silent_stream(&world, &kept, "").await;
    let mut barrier = silent_stream(&world, &marker, "").await;
    let before = world
        .metric("caracal_gateway_revocation_invalid_signatures_total")
        .await;

    let forged = |signature: Option<&str>| {
        let mut command = redis::cmd("XADD");
        command.arg(REVOKE).arg("*").arg("session_id").arg(&kept.sid);
        command.arg("zone_id").arg(ZONE);
        if let Some(signature) = signature {
            command.arg("_sig").arg(signature);
        }
        command
    };
    let other_stream = crate::world::stream_signature(
        world.variable("STREAMS_HMAC_KEY"),
        AGENTS,
        &[("session_id", &kept.sid), ("zone_id", ZONE)],
    );
    let forgeries = [
        None,
        Some(""),
        Some("zz"),
        Some(&"00".repeat(32)),
        Some(other_stream.as_str()),
    ];
    let count = forgeries.len();
    for signature in forgeries {
        let _: String = forged(signature)
            .query_async(&mut world.redis().await)
            .await
            .expect("an answer of Redis");
    }
    // A good message behind them: once it has worked, the others have been read.
    world
        .publish(REVOKE, &[("session_id", &marker.sid), ("zone_id", ZONE)])
        .await;
    report.holds("the barrier", matches!(barrier.piece().await, Piece::End(_, _)));
    let after = world
        .metric("caracal_gateway_revocation_invalid_signatures_total")
        .await;
    report.equal("counted", after - before, count as f64);
    report.status("new requests", &present(&world, &again(&world, &kept)).await, 200);
    report.equal(
        "the stream goes on",
        stream.rest(Duration::from_millis(200)).await,
        http::Rest::Silence,
    );

    // A canonical form with two readings is not applied; the database is asked instead.
    let (free, bound) = (world.mint(NONE), world.mint(NONE));
    let mut of_free = silent_stream(&world, &free, "").await;
    let mut of_bound = silent_stream(&world, &bound, "").await;
    world.database.set_authority(ZONE, &bound.sid, "revoked").await;
    let reason = format!("x\nsession_id={}", free.sid);
    world
        .publish(REVOKE, &[("reason", &reason), ("zone_id", ZONE)])
        .await;
    report.holds(
        "a snapshot was taken",
        matches!(of_bound.piece().await, Piece::End(_, _)),
    );
    report.equal(
        "the ambiguous anchor is not revoked",
        of_free.rest(Duration::from_millis(200)).await,
        http::Rest::Silence,
    );
    report.status(
        "nor are its requests",
        &present(&world, &again(&world, &free)).await,
        200,
    );
    report.finish();
}
