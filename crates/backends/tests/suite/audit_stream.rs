//! The audit stream on Redis.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use backends::audit_stream::RedisAuditStream;
use backends::redis::Link;
use evidence::{Shipment, SinkError, StreamSink};
use redis::streams::StreamRangeReply;
use testkit::balancer::Balancer;
use testkit::clock::FixedClock;
use testkit::redis::PrivateRedis;
use testkit::wait::until;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::support::{Background, redis};

struct Bench {
    sink: RedisAuditStream,
    _background: Background,
}

impl Bench {
    fn start(url: &str) -> Self {
        Self::bounded(url, 0)
    }

    fn bounded(url: &str, max_len: u32) -> Self {
        let link = Link::new("audit", redis(url), Arc::new(FixedClock::default()));
        let mut background = Background::default();
        background.run(Arc::clone(&link).run(CancellationToken::new()));
        Self {
            sink: RedisAuditStream::new(link, Duration::from_secs(15)).bounded_by(max_len),
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

/// Two servers that take connections in turn, and what is appended to them. Without a bound by a user who may not ask for
/// `INFO`.
async fn in_turn(max_len: u32) -> ([PrivateRedis; 2], Balancer, Bench) {
    let servers = [PrivateRedis::start().await, PrivateRedis::start().await];
    for server in &servers {
        let info = if max_len == 0 { "-info" } else { "+info" };
        let user = ["ACL", "SETUSER", "shipper", "on", ">secret", "~*", "+@all", info];
        let () = server.ask(&user).await;
    }
    let addr = |server: &PrivateRedis| SocketAddr::from(([127, 0, 0, 1], server.port()));
    let balancer = Balancer::start(servers.iter().map(addr).collect()).await;
    let bench = Bench::bounded(&format!("redis://shipper:secret@{}/0", balancer.addr()), max_len);
    (servers, balancer, bench)
}

#[tokio::test]
async fn demoted_server_is_left_at_its_first_refusal_and_the_next_batch_goes_to_the_new_one() {
    // A full stream is not written to, so that only the server's own word tells.
    for max_len in [0, 1] {
        let ([old, new], _balancer, bench) = in_turn(max_len).await;
        assert_eq!(bench.sink.append(&[shipment(1, None)]).await.unwrap(), 1);
        let () = old
            .ask(&["REPLICAOF", "127.0.0.1", &new.port().to_string()])
            .await;
        let refused = bench
            .sink
            .append(&[shipment(2, None)])
            .await
            .unwrap_err()
            .to_string();
        assert!(refused.contains("replica"), "{refused}");
        assert_eq!(bench.sink.append(&[shipment(2, None)]).await.unwrap(), 1);
        assert_eq!(entries(&new).await.last().unwrap()["id"], "id-2");
    }
}

#[tokio::test]
async fn refusal_that_stands_does_not_cost_a_connection_each_time() {
    let server = PrivateRedis::start().await;
    let () = server.ask(&["SET", "caracal.audit.events", "no stream"]).await;
    let bench = Bench::start(&server.url());
    for _ in 0..20 {
        assert!(bench.sink.append(&[shipment(1, None)]).await.is_err());
    }
    let stats: String = server.ask(&["INFO", "stats"]).await;
    let received = stats.lines().find_map(|line| {
        line.strip_prefix("total_connections_received:")?
            .parse::<u32>()
            .ok()
    });
    assert!(received.unwrap() < 15, "{received:?}");
}

/// Passes on what the client sends up to a number of bytes that may be raised, and everything that the server sends.
struct Valve {
    addr: SocketAddr,
    passed: watch::Receiver<usize>,
    limit: watch::Sender<usize>,
}

impl Valve {
    async fn start(server: &PrivateRedis, background: &mut Background) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (counted, passed) = watch::channel(0);
        let limit = watch::Sender::new(usize::MAX);
        let (port, mut limits) = (server.port(), limit.subscribe());
        background.run(async move {
            let (client, _) = listener.accept().await.unwrap();
            let server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_server, mut to_server) = server.into_split();
            let up = async {
                let mut piece = [0; 1024];
                while let Ok(read @ 1..) = from_client.read(&mut piece).await {
                    let passed = *counted.borrow();
                    limits.wait_for(|limit| passed < *limit).await.unwrap();
                    to_server.write_all(&piece[..read]).await.unwrap();
                    counted.send_modify(|passed| *passed += read);
                }
            };
            let down = tokio::io::copy(&mut from_server, &mut to_client);
            let _ = tokio::join!(up, down);
        });
        Self { addr, passed, limit }
    }

    /// Lets so many bytes more through.
    fn allow(&self, bytes: usize) {
        self.limit
            .send_replace(self.passed.borrow().saturating_add(bytes));
    }
}

/// A server that is out of memory when a batch begins to arrive, and is not when the rest of it does.
#[tokio::test]
async fn refusal_inside_a_batch_lets_nothing_later_into_the_stream_first() {
    let server = PrivateRedis::start().await;
    let mut background = Background::default();
    let valve = Valve::start(&server, &mut background).await;
    let bench = Bench::start(&server.url_through(valve.addr.port()));
    assert_eq!(bench.sink.append(&[shipment(0, None)]).await.unwrap(), 1);
    let batch: Vec<_> = (1..=40)
        .map(|number| Shipment {
            data: vec![b'x'; 4096].into(),
            ..shipment(number, None)
        })
        .collect();
    let () = server.ask(&["CONFIG", "SET", "maxmemory", "1"]).await;
    valve.allow(32 * 1024);
    let first = async {
        until("the server to have seen the beginning", async || {
            let errors: String = server.ask(&["INFO", "errorstats"]).await;
            let clients: String = server.ask(&["CLIENT", "LIST"]).await;
            let unfinished = clients
                .split(" argv-mem=")
                .filter_map(|rest| rest.split(' ').next()?.parse::<usize>().ok())
                .any(|bytes| bytes > 8192);
            (unfinished || errors.contains("errorstat_OOM")).then_some(())
        })
        .await;
        let () = server.ask(&["CONFIG", "SET", "maxmemory", "0"]).await;
        valve.limit.send_replace(usize::MAX);
    };
    let (taken, ()) = tokio::join!(bench.sink.append(&batch), first);
    let mut rest = &batch[taken.unwrap_or(0)..];
    while !rest.is_empty() {
        rest = &rest[bench.sink.append(rest).await.unwrap()..];
    }
    let mut ids: Vec<_> = entries(&server)
        .await
        .into_iter()
        .map(|entry| entry["id"].clone())
        .collect();
    let mut seen = std::collections::HashSet::new();
    ids.retain(|id| seen.insert(id.clone()));
    let expected: Vec<_> = (0..=40).map(|number| format!("id-{number}")).collect();
    assert_eq!(ids, expected);
}

#[tokio::test]
async fn stream_is_filled_up_to_its_bound_by_all_together_and_goes_on_below_it() {
    let server = PrivateRedis::start().await;
    let [one, other] = [(); 2].map(|()| Bench::bounded(&server.url(), 100));
    let batch: Vec<_> = (1..=80).map(|number| shipment(number, None)).collect();
    assert_eq!(one.sink.append(&batch).await.unwrap(), 64, "in one step");
    assert_eq!(other.sink.append(&batch).await.unwrap(), 36);
    for bench in [&one, &other] {
        let full = bench.sink.append(&batch).await.unwrap_err();
        let SinkError::Full {
            length: 100,
            bound: 100,
        } = full
        else {
            panic!("{full}")
        };
        assert!(full.to_string().contains("AUDIT_STREAM_MAX_LEN"), "{full}");
    }
    let () = server
        .ask(&["XTRIM", "caracal.audit.events", "MAXLEN", "97"])
        .await;
    assert_eq!(one.sink.append(&batch).await.unwrap(), 3);
    let length: usize = server.ask(&["XLEN", "caracal.audit.events"]).await;
    assert_eq!(length, 100);
}
