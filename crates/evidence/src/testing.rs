//! What the tests of the spool and of the shipper share.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use uuid::Uuid;

use crate::event::{Outcome, Request, Status, Template};
use crate::fingerprint::fingerprint;
use crate::shipper::{Batch, BoxFuture, Shipment, Shipper, SinkError, StreamSink};
use crate::spool::{Clock, Crossing, Disk, Flusher, Fsync, Room, Spool, SpoolConfig, SpoolError, System};

pub(crate) const MIB: u64 = 1024 * 1024;

pub(crate) const FSYNC_TIMEOUT: Duration = Duration::from_secs(2);

/// A clock that tests set.
#[derive(Debug, Clone, Default)]
pub(crate) struct Time(Arc<AtomicI64>);

impl Time {
    pub(crate) fn set(&self, micros: i64) {
        self.0.store(micros, Ordering::Relaxed);
    }

    pub(crate) fn advance(&self, micros: i64) {
        self.0.fetch_add(micros, Ordering::Relaxed);
    }
}

pub(crate) fn open_with(dir: &Path, max_bytes: u64, fsync: Fsync) -> (Spool, Flusher, Time) {
    open_on(Arc::new(System), dir, max_bytes, fsync)
}

pub(crate) fn open_on(
    disk: Arc<dyn Disk>,
    dir: &Path,
    max_bytes: u64,
    fsync: Fsync,
) -> (Spool, Flusher, Time) {
    let time = Time::default();
    let clock = time.clone();
    let clock: Clock = Arc::new(move || clock.0.load(Ordering::Relaxed));
    let (spool, flusher) = open_by(disk, dir, max_bytes, fsync, (Arc::clone(&clock), clock));
    (spool, flusher, time)
}

/// By clocks of the test's own: the time, and the monotonic one.
pub(crate) fn open_by(
    disk: Arc<dyn Disk>,
    dir: &Path,
    max_bytes: u64,
    fsync: Fsync,
    (clock, monotonic): (Clock, Clock),
) -> (Spool, Flusher) {
    let config = SpoolConfig {
        dir: dir.to_owned(),
        max_bytes,
        fsync,
        fsync_timeout: FSYNC_TIMEOUT,
        denials_per_second: 100,
        checkpoint_key: None,
        clock,
        monotonic,
    };
    Spool::open_on(disk, config).unwrap()
}

pub(crate) fn open(dir: &Path) -> Spool {
    open_with(dir, 64 * MIB, Fsync::Interval(Duration::from_millis(1))).0
}

/// The directory of a spool's own.
pub(crate) fn home(spool: &Spool) -> PathBuf {
    spool.inner.with_log(|log| log.home().unwrap().claim().path())
}

pub(crate) fn request(n: u128) -> Request<'static> {
    Request {
        id: Uuid::from_u128(n),
        occurred_at: 1_790_000_000_000_000,
        zone_id: "zone-1",
        request_id: "req-1",
        application_id: "app-1",
        resource: "resource://pipernet",
        subject_fingerprint: fingerprint(b"bearer"),
        method: "POST",
        client_certificate: None,
        agent_session_id: Some("agent-1"),
        session_id: None,
        path_fingerprint: None,
        trace_id: None,
        subject_kind: None,
        upstream_host: Some("api.example.com"),
        auth_mode: None,
        provider_id: None,
        connection_id: None,
    }
}

pub(crate) const DONE: Outcome = Outcome {
    gateway_status: Some(200),
    ..Outcome::new(Status::Executed)
};

/// The bytes of an event of request `n`.
pub(crate) fn event(n: u128, outcome: &Outcome) -> Vec<u8> {
    let (mut template, mut out) = (Vec::new(), Vec::new());
    Template::write(&mut template, &request(n)).complete(&template, outcome, &mut out);
    out
}

pub(crate) fn interrupted(n: u128) -> Vec<u8> {
    event(n, &Outcome::new(Status::Interrupted))
}

pub(crate) fn not_dispatched(n: u128) -> Vec<u8> {
    event(n, &Outcome::new(Status::NotDispatched))
}

/// A request that is about to be dispatched, with its intent on record.
pub(crate) async fn intend(spool: &Spool, n: u128) -> Crossing {
    kept(spool.reserve().unwrap(), &request(n)).await.unwrap()
}

/// The same for a room that may be of no use any more. Where it is not, the request is forgotten.
pub(crate) async fn kept(room: Room, request: &Request<'_>) -> Result<Crossing, SpoolError> {
    let crossing = room.intent(request).await?;
    match crossing.departure().keep() {
        Ok(()) => Ok(crossing),
        Err(error) => {
            crossing.abandon();
            Err(SpoolError::Write(error))
        }
    }
}

/// A request that was dispatched.
pub(crate) async fn cross(spool: &Spool, n: u128) -> Crossing {
    let crossing = intend(spool, n).await;
    crossing.departure().mark().unwrap();
    crossing
}

pub(crate) async fn execute(spool: &Spool, numbers: std::ops::Range<u128>) {
    for n in numbers {
        cross(spool, n).await.outcome(&DONE);
    }
}

/// Everything that can be shipped counts as shipped.
pub(crate) fn ship_to_nobody(spool: &Spool) {
    let inner = &spool.inner;
    while let Some((segment, from)) = inner.with_log(|log| log.unshipped()) {
        let (source, chain) = inner.with_log(|log| (log.source(segment.base), log.chain().cloned()));
        let batch = Batch::read(&source, &segment, from, None, chain, &[]).unwrap();
        let events = batch.shipments.len() as u64;
        inner.with_log(|log| log.ship(segment.base, batch.until, events, batch.last, batch.chain, 1));
    }
}

/// An event that was shipped, without its place in the chain.
pub(crate) fn plain(data: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(data);
    let Some(at) = text.find("\"chain_id\":") else {
        return data.to_vec();
    };
    let end = text.find("},\"occurred_at\"").unwrap();
    let (front, end) = (text[..at].trim_end_matches(','), &text[end..]);
    [front, end].concat().into_bytes()
}

pub(crate) fn is_a_checkpoint(shipment: &Shipment) -> bool {
    String::from_utf8_lossy(&shipment.data).contains(crate::CHECKPOINT)
}

/// A stream that remembers, takes at most so many events at once, and can be down or full.
#[derive(Debug)]
pub(crate) struct Memory {
    taken: watch::Sender<Vec<Shipment>>,
    attempts: watch::Sender<usize>,
    pub(crate) at_once: AtomicUsize,
    full: AtomicBool,
    batches: Mutex<Vec<usize>>,
}

impl Memory {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            taken: watch::Sender::default(),
            attempts: watch::Sender::default(),
            at_once: AtomicUsize::new(usize::MAX),
            full: AtomicBool::new(false),
            batches: Mutex::default(),
        })
    }

    pub(crate) fn set_down(&self, down: bool) {
        self.at_once
            .store(if down { 0 } else { usize::MAX }, Ordering::Relaxed);
    }

    pub(crate) fn set_full(&self, full: bool) {
        self.full.store(full, Ordering::Relaxed);
    }

    pub(crate) fn shipments(&self) -> Vec<Shipment> {
        self.taken.borrow().clone()
    }

    /// The events but checkpoints, without their places in chains.
    pub(crate) fn data(&self) -> Vec<Vec<u8>> {
        let taken = self.taken.borrow();
        let events = taken.iter().filter(|shipment| !is_a_checkpoint(shipment));
        events.map(|shipment| plain(&shipment.data)).collect()
    }

    pub(crate) fn batches(&self) -> Vec<usize> {
        self.batches.lock().unwrap().clone()
    }

    pub(crate) fn holds(self: &Arc<Self>, count: usize) -> impl Future<Output = ()> + Send + 'static {
        let mut taken = self.taken.subscribe();
        async move {
            let events = |taken: &Vec<Shipment>| taken.iter().filter(|one| !is_a_checkpoint(one)).count();
            taken.wait_for(|taken| events(taken) >= count).await.unwrap();
        }
    }

    pub(crate) fn with_data(self: &Arc<Self>, data: Vec<u8>) -> impl Future<Output = ()> + Send + 'static {
        let mut taken = self.taken.subscribe();
        async move {
            let holds = |taken: &Vec<Shipment>| taken.iter().any(|shipment| plain(&shipment.data) == data);
            taken.wait_for(holds).await.unwrap();
        }
    }

    pub(crate) fn attempted(self: &Arc<Self>, count: usize) -> impl Future<Output = ()> + Send + 'static {
        let mut attempts = self.attempts.subscribe();
        async move {
            attempts.wait_for(|attempts| *attempts >= count).await.unwrap();
        }
    }
}

impl StreamSink for Memory {
    fn append<'a>(&'a self, batch: &'a [Shipment]) -> BoxFuture<'a, Result<usize, SinkError>> {
        Box::pin(async move {
            let taken = batch.len().min(self.at_once.load(Ordering::Relaxed));
            self.batches.lock().unwrap().push(batch.len());
            self.attempts.send_modify(|attempts| *attempts += 1);
            if self.full.load(Ordering::Relaxed) {
                return Err(SinkError::Full { length: 9, bound: 9 });
            }
            self.taken
                .send_modify(|all| all.extend_from_slice(&batch[..taken]));
            if taken == 0 {
                Err(SinkError::new("down"))
            } else {
                Ok(taken)
            }
        })
    }
}

/// Ships what this spool holds, and removes it if nothing is under way.
pub(crate) async fn ship(spool: &Spool) -> Arc<Memory> {
    let sink = Memory::new();
    Shipper::new(spool, None)
        .run(sink.clone(), std::future::ready(()))
        .await;
    sink
}

/// Ships until the stream holds so many events, adopted ones included.
pub(crate) async fn ship_until(spool: &Spool, count: usize) -> Arc<Memory> {
    let sink = Memory::new();
    let done = sink.holds(count);
    let run = Shipper::new(spool, None).run(sink.clone(), done);
    tokio::time::timeout(Duration::from_secs(60), run).await.unwrap();
    sink
}
