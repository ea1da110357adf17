//! The abuser: a thread of its own that every other one on its core may interrupt.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use futures_util::future::join_all;
use rustix::process::nice;
use testkit::http::Stream;
use testkit::tls::{self, Ca};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::Builder;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::attack::{Attack, Tls};
use crate::failure::Result;
use crate::stream_client::HOST;

/// Its niceness, where the policy that gives way to everything is refused.
const NICENESS: i32 = 19;
/// Source addresses, 127.0.0.2 and so on: what a gateway lets one of them hold is bounded.
const SOURCES: u8 = 20;
/// The shortest time between two writes to one connection.
const TICK: Duration = Duration::from_millis(10);
/// How long it waits before it connects again where it was turned away.
const PAUSE: Duration = Duration::from_millis(20);
/// How long a connection or a handshake may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The beginning of a TLS record that holds a ClientHello of 512 bytes, most of which does not come.
const HALF_A_HELLO: &[u8] = &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];

/// What it did so far.
#[derive(Default)]
pub(crate) struct Done {
    /// Connections that it opened.
    pub(crate) opened: AtomicU64,
    /// Those that the gateway ended.
    pub(crate) ended: AtomicU64,
    /// Units that it sent.
    pub(crate) units: AtomicU64,
    stop: AtomicBool,
}

/// An abuser at work. Ends when dropped.
pub(crate) struct Abuser {
    done: Arc<Done>,
    thread: Option<JoinHandle<()>>,
}

impl Abuser {
    /// Sets it on the gateway at this address, whose certificate this authority signed.
    pub(crate) fn start(to: SocketAddr, attack: Attack, ca: Arc<Ca>) -> Result<Self> {
        let done = Arc::new(Done::default());
        let shared = Arc::clone(&done);
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let work = move || {
            give_way();
            let (attack, ca, done) = (&attack, &*ca, &*shared);
            let all = (0..attack.connections).map(|index| connection(to, attack, ca, index, done));
            runtime.block_on(join_all(all));
        };
        let thread = std::thread::Builder::new().name("abuser".into()).spawn(work)?;
        Ok(Self {
            done,
            thread: Some(thread),
        })
    }

    /// What it did so far.
    pub(crate) fn done(&self) -> &Done {
        &self.done
    }
}

impl Drop for Abuser {
    fn drop(&mut self) {
        self.done.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It has said what there is to say.
            let _ended = thread.join();
        }
    }
}

/// Has this thread, and no other, run only while its core has nothing else to do: the generator, the STS and the upstream are
/// on the same one. Where that is refused, the figures are worse than they could be.
fn give_way() {
    let _refused = nice(NICENESS);
    // `/proc/thread-self` is `<process>/task/<thread>`; util-linux has the program.
    if let Ok(link) = std::fs::read_link("/proc/thread-self")
        && let Some(thread) = link.file_name()
    {
        let mut chrt = Command::new("chrt");
        let _refused = chrt.args(["--idle", "--pid", "0"]).arg(thread).output();
    }
}

/// One connection after the other, until the end.
async fn connection(to: SocketAddr, attack: &Attack, ca: &Ca, index: usize, done: &Done) {
    // Units that are due with each tick, or ticks until one is.
    let each = f64::from(attack.rate) / attack.connections as f64;
    let (period, units) = match each * TICK.as_secs_f64() {
        ticked @ 1.0.. => (TICK, ticked.round() as u32),
        _ => (Duration::from_secs_f64(1.0 / each.max(0.001)), 1),
    };
    // Not all at once.
    sleep(period.mul_f64(index as f64 / attack.connections as f64)).await;
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !done.stop.load(Ordering::Relaxed) {
        if attack.once {
            ticks.tick().await;
        }
        let Ok(Ok(stream)) = timeout(PATIENCE, open(to, attack, ca, index)).await else {
            sleep(PAUSE).await;
            continue;
        };
        done.opened.fetch_add(1, Ordering::Relaxed);
        let (mut from, mut into) = tokio::io::split(stream);
        let feed = async {
            into.write_all(attack.opening()).await?;
            let mut number = 0;
            loop {
                if done.stop.load(Ordering::Relaxed) {
                    return Ok(());
                }
                if !attack.once {
                    ticks.tick().await;
                }
                let bytes: Vec<u8> = (number..number + units).flat_map(|at| attack.unit(at)).collect();
                number += units;
                into.write_all(&bytes).await?;
                into.flush().await?;
                done.units.fetch_add(u64::from(units), Ordering::Relaxed);
                if attack.once {
                    return Ok(());
                }
            }
        };
        let drain = async {
            let mut buffer = vec![0; 4096];
            while from.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
        };
        let ended = tokio::select! {
            () = drain => true,
            fed = feed => io::Result::is_err(&fed),
        };
        done.ended.fetch_add(u64::from(ended), Ordering::Relaxed);
    }
}

async fn open(to: SocketAddr, attack: &Attack, ca: &Ca, index: usize) -> Result<Box<dyn Stream>> {
    let last = 2 + u8::try_from(index % usize::from(SOURCES))?;
    let source = IpAddr::from(Ipv4Addr::new(127, 0, 0, last));
    Ok(match attack.tls {
        Tls::No => Box::new(from(source, to).await?),
        Tls::Abandoned => {
            let mut stream = from(source, to).await?;
            stream.write_all(HALF_A_HELLO).await?;
            Box::new(stream)
        }
        Tls::Complete => tls::connect(to, HOST, ca.client_config(&["http/1.1"])).await?,
    })
}

async fn from(source: IpAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind((source, 0).into())?;
    let stream = socket.connect(to).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
