//! The audit stream on Redis.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use backends::audit_stream::RedisAuditStream;
use backends::redis::Link;
use evidence::{Shipment, StreamSink};
use redis::streams::StreamRangeReply;
use testkit::clock::FixedClock;
use testkit::redis::PrivateRedis;
use testkit::wait::until;
use tokio_util::sync::CancellationToken;

use crate::support::{Background, redis};

struct Bench {
    sink: RedisAuditStream,
    _background: Background,
}

impl Bench {
    fn start(url: &str) -> Self {
        let link = Link::new("audit", redis(url), Arc::new(FixedClock::default()));
        let mut background = Background::default();
        background.run(Arc::clone(&link).run(CancellationToken::new()));
        Self {
            sink: RedisAuditStream::new(link, Duration::from_secs(15)),
            _background: background,
        }
    }
}

fn shipment(number: u32, sig: Option<&str>) -> Shipment {
    Shipment {
        id: format!("id-{number}"),
        data: format!("{{\"n\":{number}}}").into(),
        sig: sig.map(str::to_owned),
    }
}

async fn entries(server: &PrivateRedis) -> Vec<HashMap<String, String>> {
    let mut redis = server.connection().await;
    let reply: StreamRangeReply = redis::cmd("XRANGE")
        .arg("caracal.audit.events")
        .arg("-")
        .arg("+")
        .query_async(&mut redis)
        .await
        .unwrap();
    let text = |value| redis::from_redis_value::<String>(value).unwrap();
    reply
        .ids
        .into_iter()
        .map(|entry| entry.map.into_iter().map(|(k, v)| (k, text(v))).collect())
        .collect()
}

#[tokio::test]
async fn events_arrive_in_order_with_their_exact_fields() {
    let server = PrivateRedis::start().await;
    let bench = Bench::start(&server.url());
    let batch = [shipment(1, Some("5167")), shipment(2, None)];
    assert_eq!(bench.sink.append(&batch).await.unwrap(), 2);
    let expect = |fields: &[(&str, &str)]| -> HashMap<String, String> {
        fields
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    };
    assert_eq!(
        entries(&server).await,
        [
            expect(&[("id", "id-1"), ("data", "{\"n\":1}"), ("sig", "5167")]),
            expect(&[("id", "id-2"), ("data", "{\"n\":2}")]),
        ]
    );
}

#[tokio::test]
async fn stream_that_refuses_has_accepted_nothing() {
    let server = PrivateRedis::start().await;
    let mut redis = server.connection().await;
    let () = redis::cmd("SET")
        .arg("caracal.audit.events")
        .arg("no stream")
        .query_async(&mut redis)
        .await
        .unwrap();
    let bench = Bench::start(&server.url());
    assert!(bench.sink.append(&[shipment(1, None)]).await.is_err());
}

#[tokio::test]
async fn outage_is_an_error_and_the_next_batch_goes_through_after_it() {
    let mut server = PrivateRedis::start().await;
    let bench = Bench::start(&server.url());
    assert_eq!(bench.sink.append(&[shipment(1, None)]).await.unwrap(), 1);
    server.kill().await;
    assert!(bench.sink.append(&[shipment(2, None)]).await.is_err());
    server.restart().await;
    until("the stream to take events again", async || {
        bench.sink.append(&[shipment(2, None)]).await.ok()
    })
    .await;
    assert_eq!(entries(&server).await.last().unwrap()["id"], "id-2");
}
