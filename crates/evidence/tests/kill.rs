//! A process is killed with SIGKILL in the middle of its work; the next one ships what it did.

#![expect(
    clippy::unwrap_used,
    reason = "the helpers of a test may fail like the test itself"
)]

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use evidence::{
    BoxFuture, CHECKPOINT, Fsync, Outcome, Request, Shipment, Shipper, SinkError, Spool, SpoolConfig, Status,
    StreamSink, Uuid, Verifier, fingerprint,
};
use tokio::sync::watch;

const UNDER_WAY: usize = 8;

fn open(dir: &Path) -> (Spool, evidence::Flusher) {
    Spool::open(SpoolConfig {
        dir: dir.to_owned(),
        max_bytes: 64 * 1024 * 1024,
        fsync: Fsync::Interval(Duration::from_millis(5)),
        fsync_timeout: Duration::from_secs(2),
        denials_per_second: 100,
        checkpoint_key: None,
        clock: Arc::new(|| 1_790_000_000_000_000),
        monotonic: Arc::new(|| 1),
    })
    .unwrap()
}

fn request(n: u128) -> Request<'static> {
    Request {
        id: Uuid::from_u128(n),
        occurred_at: 1_790_000_000_000_000,
        zone_id: "zone-1",
        request_id: "req-1",
        application_id: "app-1",
        resource: "resource://pipernet",
        subject_fingerprint: fingerprint(b"bearer"),
        method: "GET",
        client_certificate: None,
        agent_session_id: None,
        session_id: None,
        path_fingerprint: None,
        trace_id: None,
        subject_kind: None,
        upstream_host: None,
        auth_mode: None,
        provider_id: None,
        connection_id: None,
    }
}

/// Works until it is killed, and says what it has done as soon as it has done it.
#[tokio::test]
#[ignore = "run by the test below, in a process of its own"]
async fn the_process_that_is_killed() {
    let (spool, flusher) = open(Path::new("."));
    let work = async {
        let mut under_way = VecDeque::new();
        let mut out = std::io::stdout();
        for n in 0..20_000 {
            let crossing = spool.reserve().unwrap().intent(&request(n)).await.unwrap();
            crossing.departure().mark().unwrap();
            under_way.push_back(crossing);
            writeln!(out, "\nbegun {n}").unwrap();
            if under_way.len() > UNDER_WAY
                && let Some(crossing) = under_way.pop_front()
            {
                let id = crossing.id();
                crossing.outcome(&Outcome::new(Status::Executed));
                writeln!(out, "\nended {}", id.as_u128()).unwrap();
            }
            if n % 16 == 0 {
                tokio::task::yield_now().await;
            }
        }
    };
    tokio::join!(flusher.run(std::future::pending()), work);
}

#[derive(Debug, Default)]
struct Collected(watch::Sender<Vec<(String, String)>>);

impl StreamSink for Collected {
    fn append<'a>(&'a self, batch: &'a [Shipment]) -> BoxFuture<'a, Result<usize, SinkError>> {
        let events = batch
            .iter()
            .map(|event| (event.id.clone(), String::from_utf8(event.data.to_vec()).unwrap()));
        self.0.send_modify(|all| all.extend(events));
        Box::pin(std::future::ready(Ok(batch.len())))
    }
}

#[tokio::test]
async fn a_killed_process_loses_nothing_and_invents_nothing() {
    for kill_after in [1, 50, 777, 3_000] {
        let dir = tempfile::tempdir().unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "the_process_that_is_killed",
                "--ignored",
                "--nocapture",
            ])
            .current_dir(dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (mut begun, mut ended) = (0_u128, 0_u128);
        let mut lines = 0;
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            if let Some(n) = line.strip_prefix("begun ").and_then(|n| n.parse::<u128>().ok()) {
                begun = begun.max(n + 1);
            } else if let Some(n) = line.strip_prefix("ended ").and_then(|n| n.parse::<u128>().ok()) {
                ended = ended.max(n + 1);
            } else {
                continue;
            }
            lines += 1;
            if lines == kill_after {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(lines >= kill_after, "the process ended by itself");

        let (next, flusher) = open(dir.path());
        let sink = Arc::new(Collected::default());
        let mut held = sink.0.subscribe();
        let least = usize::try_from(begun).unwrap();
        let done = async move {
            held.wait_for(|held| held.len() >= least).await.unwrap();
        };
        let ship = Shipper::new(&next, None).run(sink.clone(), done);
        tokio::time::timeout(Duration::from_secs(60), ship).await.unwrap();
        flusher.run(std::future::ready(())).await;

        let mut shipped = sink.0.borrow().clone();
        let mut verifier = Verifier::default();
        shipped
            .iter()
            .for_each(|(id, data)| verifier.add(id, data.as_bytes(), None));
        let report = verifier.finish();
        assert!(report.is_sound() && report.proved == report.events, "{report:?}");
        assert!(report.chains.iter().all(|chain| chain.is_complete), "{report:?}");
        shipped.retain(|(_, data)| !data.contains(CHECKPOINT));
        let events: BTreeMap<_, _> = shipped.iter().cloned().collect();
        assert_eq!(events.len(), shipped.len(), "one event for each crossing");
        assert!(
            (begun..=begun + 1).contains(&(events.len() as u128)),
            "{begun} begun, {} events",
            events.len()
        );
        for n in 0..begun {
            let event = &events[&Uuid::from_u128(n).to_string()];
            let executed = event.contains("\"evaluation_status\":\"executed\"");
            let interrupted = event.contains("\"evaluation_status\":\"interrupted\"");
            // The last outcome may have been recorded without the word of it getting out.
            assert!(
                if n < ended {
                    executed
                } else {
                    interrupted || (executed && n == ended)
                },
                "{n}: {event}"
            );
        }
        assert_eq!(
            std::fs::read_dir(dir.path()).unwrap().count(),
            0,
            "nothing is left behind"
        );
    }
}
