//! What the service manager is told of the process (`sd_notify(3)`): that it accepts connections, what `/ready` says, that it
//! lives, reloads and stops. Nobody waits for a manager that does not listen, and none is needed.

use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

use config::NotifySocket;
use tokio::time::{MissedTickBehavior, interval};

use crate::clock;
use crate::operator::Operator;
use crate::supervisor::Supervisor;

/// How often a message is tried while the manager's queue is full.
const TRIES: u32 = 50;
/// How long is waited between two of them.
const PAUSE: Duration = Duration::from_millis(10);
/// How often it is looked whether `/ready` says something else.
const STATUS_INTERVAL: Duration = Duration::from_secs(5);

/// Where the manager listens; nowhere without one.
#[derive(Clone, Debug, Default)]
pub struct ServiceManager {
    notify: Option<Arc<Notify>>,
    watchdog: Option<Duration>,
}

#[derive(Debug)]
struct Notify {
    socket: UnixDatagram,
    address: SocketAddr,
}

impl ServiceManager {
    /// Tells a manager that says where, or nobody.
    #[must_use]
    pub fn new(said: &config::ServiceManager) -> Self {
        let notify = said.notify.as_ref().map(Notify::new).transpose();
        let notify = notify.unwrap_or_else(|error| {
            tracing::warn!(%error, "the service manager cannot be told anything (NOTIFY_SOCKET)");
            None
        });
        Self {
            notify: notify.map(Arc::new),
            watchdog: said.watchdog,
        }
    }

    /// It accepts connections, and whatever was begun before is done.
    pub async fn ready(&self) {
        self.tell("READY=1").await;
    }

    /// It begins to reload, until it is [ready](Self::ready) again.
    pub async fn reloading(&self) {
        let since = clock::monotonic_micros();
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={since}")).await;
    }

    /// It was asked to stop.
    pub async fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=draining").await;
    }

    /// From now on the manager hears that the process lives, and what `/ready` says.
    pub fn watched_by(&self, supervisor: &Supervisor, operator: Arc<Operator>) {
        if self.notify.is_none() {
            return;
        }
        let status = self.clone();
        supervisor.background("service status", |stop| async move {
            stop.run_until_cancelled(status.tell_status(&operator)).await;
        });
        if let Some(limit) = self.watchdog {
            let alive = self.clone();
            // To the last: connections to the stores end when everything else has.
            supervisor.foundation("watchdog", |stop| async move {
                stop.run_until_cancelled(alive.give_signs_of_life(limit)).await;
            });
        }
    }

    /// A task like every other one: no sign comes from a process whose tasks get no turn.
    async fn give_signs_of_life(&self, limit: Duration) {
        let mut tick = interval((limit / 2).max(Duration::from_millis(1)));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            self.tell("WATCHDOG=1").await;
        }
    }

    async fn tell_status(&self, operator: &Operator) {
        let mut tick = interval(STATUS_INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut told = None;
        loop {
            tick.tick().await;
            let now = operator.readiness.report().await.reason().unwrap_or("ready");
            if told != Some(now) {
                self.tell(&format!("STATUS={now}")).await;
                told = Some(now);
            }
        }
    }

    /// What the manager does not take within half a second, it does not get.
    async fn tell(&self, state: &str) {
        let Some(notify) = &self.notify else { return };
        for _ in 0..TRIES {
            match notify.socket.send_to_addr(state.as_bytes(), &notify.address) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => tokio::time::sleep(PAUSE).await,
                Err(error) => return tracing::debug!(%error, state, "the service manager does not listen"),
                Ok(_) => return,
            }
        }
        tracing::debug!(state, "the service manager does not read");
    }
}

impl Notify {
    fn new(said: &NotifySocket) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        let address = match said {
            NotifySocket::Path(path) => SocketAddr::from_pathname(path)?,
            NotifySocket::Abstract(name) => SocketAddr::from_abstract_name(name)?,
        };
        Ok(Self { socket, address })
    }
}
