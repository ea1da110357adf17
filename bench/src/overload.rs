//! More than the gateway can do: what it serves, how soon, and whether it still says that it lives, with and without
//! `OVERLOAD_DELAY`.
//!
//! Most of the load is requests whose signature has to be verified and does not hold: they cost the gateway's core more
//! than the generator's, so that the gateway is what is overloaded. Beside them callers with mandates ask at a fixed rate.

use std::cell::RefCell;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use clap::Args;
use futures_util::future::{join_all, try_join_all};
use memchr::memmem;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval, sleep, sleep_until};

use crate::clock;
use crate::connection::Connection;
use crate::cpu::{self, Cores};
use crate::failure::Result;
use crate::gateway;
use crate::latency::Latencies;
use crate::requests::Requests;
use crate::servers::Servers;

/// Each answer of `/health` must come within this time.
const HEALTH_WITHIN: Duration = Duration::from_secs(1);
/// Of what the gateway served when it was full and not more, it must serve so much when it is overloaded.
const GOODPUT: f64 = 0.6;
/// Requests that the crowd sends in one piece.
const PIPELINED: usize = 10;
/// Time between two questions for its health.
const HEALTH_PERIOD: Duration = Duration::from_millis(50);

/// What to send.
#[derive(Args, Clone, Debug)]
pub(crate) struct Plan {
    /// Connections that send what will be refused.
    #[arg(long, default_value_t = 3000)]
    connections: usize,
    /// What they ask for, in times of what a full gateway serves.
    #[arg(long, default_value_t = 3.0)]
    times: f64,
    /// Requests a second of callers with mandates.
    #[arg(long, default_value_t = 200)]
    rate: u32,
    /// Seconds of each load.
    #[arg(long, default_value_t = 15)]
    seconds: u64,
    /// How late the run queue may be [default: the gateway's own].
    #[arg(long)]
    delay: Option<String>,
}

/// Connections that send what will be refused.
#[derive(Clone, Copy)]
struct Crowd {
    connections: usize,
    /// Requests a second of all of them.
    rate: f64,
}

/// What came of one load.
struct Seen {
    /// Requests that passed the first door, whatever was said of them then, in a second.
    admitted: f64,
    /// Of callers with mandates: served and refused.
    served: u64,
    refused: u64,
    latencies: Latencies,
    health: Latencies,
    unhealthy: u64,
    busy: f64,
    wrong: Option<String>,
}

/// Counters that the connections of one load share.
struct Counts {
    admitted: u64,
    seen: Seen,
}

impl Counts {
    fn new() -> Result<Self> {
        let seen = Seen {
            admitted: 0.0,
            served: 0,
            refused: 0,
            latencies: Latencies::new()?,
            health: Latencies::new()?,
            unhealthy: 0,
            busy: 0.0,
            wrong: None,
        };
        Ok(Self { admitted: 0, seen })
    }
}

/// Runs it all; the second value tells whether all is within its bounds.
pub(crate) async fn run(command: &[OsString], servers: &Servers, plan: &Plan) -> Result<(String, bool)> {
    let mut text = String::from(
        "| load | OVERLOAD_DELAY | admitted (1/s) | with mandates: served / refused | latency of the served, p50 / p99 / p99.9 (ms) | \
         /health, p50 / p99 / p99.9 (ms) | not answered | its core (%) |\n|---|---|---:|---:|---:|---:|---:|---:|\n",
    );
    let off = Some("0".to_owned());
    let mut seen: Vec<Seen> = Vec::new();
    for (load, delay) in [
        ("full", off.clone()),
        ("overload", off),
        ("overload", plan.delay.clone()),
    ] {
        let shown = delay.clone().unwrap_or_else(|| "default".to_owned());
        // First as much as it takes, by connections that send again once they have their answers.
        let crowd = match seen.first() {
            None => Crowd {
                connections: 32,
                rate: f64::INFINITY,
            },
            Some(full) => Crowd {
                connections: plan.connections,
                rate: full.admitted * plan.times,
            },
        };
        let one = measure(command, servers, plan, crowd, delay).await?;
        writeln!(
            text,
            "| {load}, {} connections, {:.0}/s | {shown} | {:.0} | {} / {} | {} | {} | {} | {:.0} |",
            crowd.connections,
            crowd.rate,
            one.admitted,
            one.served,
            one.refused,
            one.latencies.quantiles(),
            one.health.quantiles(),
            one.unhealthy,
            one.busy * 100.0,
        )?;
        if let Some(wrong) = &one.wrong {
            writeln!(text, "\nNot served and not refused: {wrong}\n")?;
        }
        seen.push(one);
    }
    let [full, without, with] = &seen[..] else {
        return Err("three loads".into());
    };
    let goodput = with.admitted / full.admitted.max(1.0);
    let (p99, before) = (with.latencies.quantile(0.99), without.latencies.quantile(0.99));
    let verdicts = [
        (
            format!("admitted of what a full gateway serves: {goodput:.2}"),
            goodput >= GOODPUT,
        ),
        (
            format!(
                "/health answers: the slowest within {:?}",
                with.health.quantile(1.0)
            ),
            with.unhealthy == 0 && with.health.quantile(1.0) <= HEALTH_WITHIN,
        ),
        (
            format!("p99 of the served, of that without OVERLOAD_DELAY: {p99:?} of {before:?}"),
            p99 < before,
        ),
        (
            "no other answer than served and refused".to_owned(),
            with.wrong.is_none(),
        ),
    ];
    for (what, held) in &verdicts {
        writeln!(text, "- {what}: {}", if *held { "held" } else { "NOT held" })?;
    }
    Ok((text, verdicts.iter().all(|(_, held)| *held)))
}

async fn measure(
    command: &[OsString],
    servers: &Servers,
    plan: &Plan,
    crowd: Crowd,
    delay: Option<String>,
) -> Result<Seen> {
    let mut variables = vec![("MAX_CONNECTIONS_PER_SOURCE", "8000".to_owned())];
    variables.extend(delay.map(|delay| ("OVERLOAD_DELAY", delay)));
    let subject = gateway::start_with(command, servers, &variables).await?;
    let to = subject.address;
    let (good, mut bad) = (request_of(servers)?, request_of(servers)?);
    spoil(&mut bad);

    let callers = try_join_all((0..plan.rate.div_ceil(10).max(1)).map(|_| Connection::open(to))).await?;
    let piece = bad.repeat(PIPELINED);
    let pause = Duration::from_secs_f64((crowd.connections * PIPELINED) as f64 / crowd.rate);
    let mut crowded = Vec::with_capacity(crowd.connections);
    for _ in 0..crowd.connections {
        crowded.push(TcpStream::connect(to).await?);
    }
    let counts = RefCell::new(Counts::new()?);
    let until = clock::now() + Duration::from_secs(plan.seconds);
    let cores = Cores::now()?;
    let period = Duration::from_secs(1) * u32::try_from(callers.len())? / plan.rate.max(1);
    tokio::join!(
        join_all(crowded.into_iter().enumerate().map(|(index, stream)| {
            let first = pause.mul_f64(index as f64 / crowd.connections as f64);
            press(stream, &piece, first, pause, until, &counts)
        })),
        join_all(
            callers
                .into_iter()
                .map(|connection| call(to, connection, &good, period, until, &counts))
        ),
        ask_for_health(to, until, &counts),
    );
    let busy = Cores::now()?.busy_since(&cores, cpu::MEASURED);
    subject.child.stop().await?;
    let Counts { admitted, seen } = counts.into_inner();
    Ok(Seen {
        admitted: (admitted + seen.served) as f64 / plan.seconds as f64,
        busy,
        ..seen
    })
}

fn request_of(servers: &Servers) -> Result<Vec<u8>> {
    let mut request = Vec::new();
    Requests::reusable(servers.stack(), 1)?.write(0, &mut request);
    Ok(request)
}

/// Changes one character in the middle of the mandate's signature: all of it has to be verified.
fn spoil(request: &mut [u8]) {
    let end = memmem::find(request, b"\r\nX-Caracal-Resource").unwrap_or_default();
    if let Some(byte) = request.get_mut(end.saturating_sub(40)) {
        *byte = if *byte == b'A' { b'B' } else { b'A' };
    }
}

/// Sends the same again and again, many in one piece, with so much time from one piece to the next, or more where the answers
/// take longer. What is read is only counted, so that the generator is not what is full.
async fn press(
    mut stream: TcpStream,
    piece: &[u8],
    first: Duration,
    pause: Duration,
    until: Instant,
    counts: &RefCell<Counts>,
) {
    sleep(first).await;
    let (mut next, mut buffer) = (clock::now(), Vec::with_capacity(64 * 1024));
    while clock::now() < until {
        if let Err(error) = stream.write_all(piece).await {
            return wrong(counts, error.to_string());
        }
        let mut answered = 0;
        while answered < PIPELINED {
            match stream.read_buf(&mut buffer).await {
                Ok(1..) => {}
                Ok(0) => return wrong(counts, "a connection was closed".to_owned()),
                Err(error) => return wrong(counts, error.to_string()),
            }
            answered += count(&mut buffer, counts);
        }
        next = (next + pause).max(clock::now());
        sleep_until(next.into()).await;
    }
}

/// Counts the answers that have begun, and keeps what may be the beginning of one.
fn count(buffer: &mut Vec<u8>, counts: &RefCell<Counts>) -> usize {
    const BEGINNING: &[u8] = b"HTTP/1.1 ";
    let (mut answers, mut kept) = (0, buffer.len().saturating_sub(BEGINNING.len() - 1));
    for at in memmem::find_iter(buffer, BEGINNING) {
        let Some(status) = buffer.get(at + BEGINNING.len()..at + BEGINNING.len() + 3) else {
            kept = at;
            break;
        };
        answers += 1;
        kept = kept.max(at + 1);
        match status {
            b"401" => counts.borrow_mut().admitted += 1,
            b"503" => {}
            other => wrong(counts, format!("status {}", other.escape_ascii())),
        }
    }
    buffer.drain(..kept);
    answers
}

/// Asks at its rate, and leaves out what it could not ask in time.
async fn call(
    to: SocketAddr,
    mut connection: Connection,
    request: &[u8],
    period: Duration,
    until: Instant,
    counts: &RefCell<Counts>,
) {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while clock::now() < until {
        ticks.tick().await;
        let began = clock::now();
        let status = connection.exchange(request).await.map(|answer| answer.status);
        let took = clock::now().duration_since(began);
        match status {
            Ok(200) => {
                let seen = &mut counts.borrow_mut().seen;
                seen.served += 1;
                seen.latencies.record(took);
            }
            Ok(503) => counts.borrow_mut().seen.refused += 1,
            Ok(other) => wrong(counts, format!("status {other}")),
            Err(error) => {
                wrong(counts, error.to_string());
                let Ok(fresh) = Connection::open(to).await else {
                    return;
                };
                connection = fresh;
            }
        }
    }
}

async fn ask_for_health(to: SocketAddr, until: Instant, counts: &RefCell<Counts>) {
    while clock::now() < until {
        let began = clock::now();
        let ask = async {
            let mut connection = Connection::open(to).await?;
            let request = b"GET /health HTTP/1.1\r\nHost: bench.example\r\n\r\n";
            connection.exchange(request).await.map(|answer| answer.status)
        };
        let healthy = ask.await.is_ok_and(|status: u16| status == 200);
        {
            let seen = &mut counts.borrow_mut().seen;
            seen.health.record(clock::now().duration_since(began));
            seen.unhealthy += u64::from(!healthy);
        }
        sleep(HEALTH_PERIOD).await;
    }
}

fn wrong(counts: &RefCell<Counts>, why: String) {
    counts.borrow_mut().seen.wrong.get_or_insert(why);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_once_however_they_come() {
        let text = b"HTTP/1.1 401 U\r\nA: HTTP/1.\r\n\r\n{}HTTP/1.1 503 S\r\n\r\n{}HTTP/1.1 401 U\r\n\r\n";
        for size in 1..text.len() {
            let counts = RefCell::new(Counts::new().unwrap());
            let (mut buffer, mut answers) = (Vec::new(), 0);
            for piece in text.chunks(size) {
                buffer.extend_from_slice(piece);
                answers += count(&mut buffer, &counts);
            }
            let counts = counts.into_inner();
            assert_eq!(
                (answers, counts.admitted, counts.seen.wrong),
                (3, 2, None),
                "{size}"
            );
        }
    }
}
