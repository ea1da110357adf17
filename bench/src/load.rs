//! The load generator: closed loop and open loop over keep-alive connections.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::future::{join_all, try_join_all};

use crate::clock;
use crate::connection::Connection;
use crate::failure::Result;
use crate::latency::Latencies;
use crate::requests::Requests;
use crate::schedule::{Pacer, Schedule};

/// Time between the making of an open loop and its first request.
const RUN_UP: Duration = Duration::from_millis(20);

/// When requests are sent.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Loop {
    /// Each connection sends its next request when it has its answer.
    Closed,
    /// So many in each second, whether answers come or not. Latency counts from the moment at which a request was
    /// meant to be sent, so that a stall shows in every request that it held up.
    Open {
        /// The rate.
        per_second: u32,
    },
}

/// What came of a load.
pub(crate) struct Outcome {
    /// Of the requests that were answered as they should.
    pub(crate) latencies: Latencies,
    /// How long after its moment a request was really sent, because the generator was late or every connection was
    /// waiting for an answer; open loop alone.
    pub(crate) lateness: Latencies,
    /// Requests that were not.
    pub(crate) failed: u64,
    /// The first of those.
    pub(crate) first_failure: Option<String>,
    /// From the first request to the last answer.
    pub(crate) wall: Duration,
}

impl Outcome {
    /// Answers per second.
    pub(crate) fn per_second(&self) -> f64 {
        self.latencies.count() as f64 / self.wall.as_secs_f64()
    }

    /// Adds what came of another load, after this one.
    pub(crate) fn add(&mut self, other: Self) -> Result<()> {
        self.latencies.add(&other.latencies)?;
        self.lateness.add(&other.lateness)?;
        self.failed += other.failed;
        self.first_failure = self.first_failure.take().or(other.first_failure);
        self.wall += other.wall;
        Ok(())
    }

    fn fail(&mut self, why: impl FnOnce() -> String) {
        self.failed += 1;
        self.first_failure.get_or_insert_with(why);
    }
}

/// Sends every request once, and waits for every answer.
pub(crate) async fn run(
    to: SocketAddr,
    requests: &Requests,
    connections: usize,
    mode: Loop,
) -> Result<Outcome> {
    run_over(async || Connection::open(to).await, requests, connections, mode).await
}

/// The same over connections that are opened like this.
pub(crate) async fn run_over(
    open: impl AsyncFn() -> io::Result<Connection>,
    requests: &Requests,
    connections: usize,
    mode: Loop,
) -> Result<Outcome> {
    let connections = try_join_all((0..connections.max(1)).map(|_| open())).await?;
    let (first, pace) = match mode {
        Loop::Closed => (clock::now(), None),
        Loop::Open { per_second } => {
            let (first, schedule) = (clock::now() + RUN_UP, Schedule::new(per_second));
            let pacer = Pacer::start(schedule, first, requests.len())?;
            (first, Some((pacer, schedule)))
        }
    };
    let generator = Generator {
        open,
        requests,
        next: Cell::new(0),
        first,
        pace,
        outcome: RefCell::new(Outcome {
            latencies: Latencies::new()?,
            lateness: Latencies::new()?,
            failed: 0,
            first_failure: None,
            wall: Duration::ZERO,
        }),
    };
    join_all(
        connections
            .into_iter()
            .map(|connection| generator.work(connection)),
    )
    .await;
    let mut outcome = generator.outcome.into_inner();
    outcome.wall = clock::now().duration_since(first);
    Ok(outcome)
}

/// What the connections share. All of them live on one thread.
struct Generator<'a, O> {
    open: O,
    requests: &'a Requests,
    next: Cell<usize>,
    first: Instant,
    pace: Option<(Pacer, Schedule)>,
    outcome: RefCell<Outcome>,
}

impl<O: AsyncFn() -> io::Result<Connection>> Generator<'_, O> {
    async fn work(&self, mut connection: Connection) {
        let mut request = Vec::with_capacity(4096);
        while let Some(index) = self.take(&mut request) {
            let sent = self.moment(index).await;
            let right = match connection.exchange(&request).await {
                Ok(answer) if self.requests.expect(&answer) => Ok(()),
                Ok(answer) => Err(format!(
                    "status {}: {}",
                    answer.status,
                    String::from_utf8_lossy(answer.body)
                )),
                Err(error) => Err(error.to_string()),
            };
            let took = clock::now().saturating_duration_since(sent);
            let Err(why) = right else {
                self.outcome.borrow_mut().latencies.record(took);
                continue;
            };
            self.outcome.borrow_mut().fail(|| why);
            match (self.open)().await {
                Ok(fresh) => connection = fresh,
                Err(error) => {
                    // The others take over what is left.
                    self.outcome.borrow_mut().fail(|| error.to_string());
                    return;
                }
            }
        }
    }

    fn take(&self, request: &mut Vec<u8>) -> Option<usize> {
        let index = self.next.get();
        self.next.set(index + 1);
        self.requests.write(index, request).then_some(index)
    }

    /// The moment from which the request's latency counts, when it has come.
    async fn moment(&self, index: usize) -> Instant {
        let Some((pacer, schedule)) = &self.pace else {
            return clock::now();
        };
        pacer.turn().await;
        let meant = self.first + schedule.start(index);
        let late = clock::now().saturating_duration_since(meant);
        self.outcome.borrow_mut().lateness.record(late);
        meant
    }
}
