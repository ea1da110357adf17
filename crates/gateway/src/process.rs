//! The life of the process: listen, serve, drain, end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use config::LifeCycle;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::front::Front;
use crate::ingress::connection::Shutdown;
use crate::ingress::listener::{Acceptor, Listener};
use crate::operator::Operator;
use crate::renewal::RenewNow;
use crate::service_manager::ServiceManager;
use crate::supervisor::Supervisor;
use crate::telemetry::log;

/// Ended as asked.
pub const OK: i32 = 0;
/// What is to be read cannot be (`EX_UNAVAILABLE`).
pub const UNAVAILABLE: i32 = 69;
/// A background task died (`EX_SOFTWARE`).
pub const INTERNAL: i32 = 70;
/// The configuration is at fault (`EX_CONFIG`).
pub const CONFIG: i32 = 78;
/// How long event streams may take to end cleanly, and cut connections to put their ends on record.
const STREAM_END_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the background tasks may take to end, three seconds, and to ship what they left, four more.
const FINISH_TIMEOUT: Duration = Duration::from_secs(8);
/// How long the last log lines may take: nobody may read them.
pub const LOG_FLUSH_TIMEOUT: Duration = Duration::from_secs(1);
/// The same after a second signal.
const HURRIED_LOG_FLUSH_TIMEOUT: Duration = Duration::from_millis(50);
/// How often it is looked whether the log is written.
const LOG_FLUSH_POLL: Duration = Duration::from_millis(2);

/// Raises the soft limit of open files to the hard one, and returns what holds then; `None` is no limit.
///
/// The soft limit stays where the system does not let it be raised.
#[must_use]
pub fn raise_open_files() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => raised.current,
        Err(_) => limit.current,
    }
}

/// Keeps SIGUSR1 and SIGUSR2 from ending the process, and returns SIGHUP, which does not end it either.
///
/// # Errors
/// The system's.
pub fn hangup() -> io::Result<Signal> {
    // A handler stays when its stream is dropped.
    let _ = signal(SignalKind::user_defined1())?;
    let _ = signal(SignalKind::user_defined2())?;
    signal(SignalKind::hangup())
}

/// What asks the process to stop.
pub struct Stop(Asked);

enum Asked {
    Signals { term: Signal, int: Signal },
    Token(CancellationToken),
}

impl Stop {
    /// SIGTERM and SIGINT; a second one ends a process that serves at once, and one that starts within two seconds.
    ///
    /// # Errors
    /// The system's.
    pub fn signals() -> io::Result<Self> {
        let (term, int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        Ok(Self(Asked::Signals { term, int }))
    }

    /// A token, for commands that run the gateway inside themselves.
    #[must_use]
    pub fn token(token: CancellationToken) -> Self {
        Self(Asked::Token(token))
    }

    /// Completes when the process is asked to stop.
    pub(crate) async fn asked(&mut self) {
        match &mut self.0 {
            Asked::Signals { term, int } => {
                tokio::select! {
                    _ = term.recv() => {}
                    _ = int.recv() => {}
                }
            }
            Asked::Token(token) => token.cancelled().await,
        }
    }

    /// Asked again. A token is asked only once.
    async fn asked_again(&mut self) {
        match &self.0 {
            Asked::Signals { .. } => self.asked().await,
            Asked::Token(_) => std::future::pending().await,
        }
    }
}

/// A gateway that is wired and bound, and not running yet.
pub struct Server {
    pub(crate) listener: Listener,
    pub(crate) acceptor: Acceptor<Front>,
    /// The operator's own listener, when `OPERATOR_ADDR` is set.
    pub(crate) operator_listener: Option<(Listener, Acceptor<Front>)>,
    /// Reloads the revocation snapshot.
    pub(crate) operator: Arc<Operator>,
    /// Has the bindings read again.
    pub(crate) reload_bindings: Arc<dyn Fn() + Send + Sync>,
    /// Has certificates, keys and authorities read again.
    pub(crate) renew_now: RenewNow,
    pub(crate) supervisor: Supervisor,
    pub(crate) shutdown: Shutdown,
    /// Turns `/ready` to `draining`.
    pub(crate) draining: CancellationToken,
    pub(crate) times: LifeCycle,
    /// Who is told of all that.
    pub(crate) manager: ServiceManager,
}

impl Server {
    /// Where callers connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// Reloads at every `hangup` what can be reloaded: revocations, bindings, certificates, keys and authorities.
    pub fn reload_on(&self, mut hangup: Signal) {
        let operator = Arc::clone(&self.operator);
        let (reload_bindings, renew_now) = (Arc::clone(&self.reload_bindings), self.renew_now.clone());
        let (manager, draining) = (self.manager.clone(), self.draining.clone());
        let reload = async move {
            while hangup.recv().await.is_some() {
                tracing::info!("SIGHUP: reloading revocations, bindings and certificates");
                manager.reloading().await;
                reload_bindings();
                // Their outcomes are in the log.
                let (_revocations, ()) = tokio::join!(operator.reload(), renew_now.look());
                if !draining.is_cancelled() {
                    manager.ready().await;
                }
            }
        };
        self.supervisor.background("reload", |stop| async move {
            stop.run_until_cancelled(reload).await;
        });
    }

    /// Serves until asked to stop, and returns the exit code.
    pub async fn run(self, mut stop: Stop) -> i32 {
        let supervisor = self.supervisor.clone();
        let (shutdown, draining, times) = (self.shutdown, self.draining, self.times);
        let closing = CancellationToken::new();
        tracing::info!(addr = %self.listener.address(), "listening");
        // Counted among the connections: what a listener still accepts while it closes is waited for.
        let accept = self.listener.run(self.acceptor, closing.clone());
        let accept = supervisor.inbound().track_future(accept);
        supervisor.background("listener", |_| accept);
        if let Some((listener, acceptor)) = self.operator_listener {
            tracing::info!(addr = %listener.address(), "operator endpoints listening");
            let accept = listener.run(acceptor, closing.clone());
            let accept = supervisor.inbound().track_future(accept);
            supervisor.background("operator listener", |_| accept);
        }
        let manager = self.manager;
        manager.watched_by(&supervisor, self.operator);
        manager.ready().await;
        let code = tokio::select! {
            () = stop.asked() => OK,
            task = supervisor.failure() => {
                tracing::error!(task, "background task ended unasked, stopping the process");
                INTERNAL
            }
        };
        let end = async {
            tracing::info!("draining");
            supervisor.stopping();
            draining.cancel();
            manager.stopping().await;
            // A process without one of its tasks is to take no request that it can do without.
            let delay = if code == OK {
                times.drain_delay
            } else {
                Duration::ZERO
            };
            tokio::time::sleep(delay).await;
            // Before the listener closes: who sees it closed can rely on the drain having begun.
            shutdown.drain.cancel();
            closing.cancel();
            end(&supervisor, &shutdown, delay, times.shutdown_grace).await;
        };
        let log_flush = tokio::select! {
            () = end => {
                tracing::info!("stopped");
                LOG_FLUSH_TIMEOUT
            }
            () = stop.asked_again() => {
                tracing::warn!("stopped at once by a second signal; evidence stays in the spool");
                HURRIED_LOG_FLUSH_TIMEOUT
            }
        };
        tokio::select! {
            _ = tokio::time::timeout(log_flush, flush_log()) => {}
            () = stop.asked_again() => {}
        }
        code
    }
}

/// Waits for the connections, ends what does not end by itself, and finishes the background tasks.
async fn end(supervisor: &Supervisor, shutdown: &Shutdown, delay: Duration, grace: Duration) {
    let connections = supervisor.inbound();
    connections.close();
    // A request may be on its way over a connection that looks idle, and its answer is what tells the caller.
    let idle = delay.min(grace);
    // First what can end in its own way; a connection that is dropped has no last chunk.
    for (time, next) in [
        (idle, &shutdown.idle),
        (grace - idle, &shutdown.streams),
        (STREAM_END_TIMEOUT, &shutdown.cut),
    ] {
        if tokio::time::timeout(time, connections.wait()).await.is_ok() {
            break;
        }
        next.cancel();
    }
    let _late = tokio::time::timeout(STREAM_END_TIMEOUT, connections.wait()).await;
    if tokio::time::timeout(FINISH_TIMEOUT, supervisor.finish())
        .await
        .is_err()
    {
        tracing::error!(
            "background tasks did not finish within 8 s; evidence stays in the spool for the next start"
        );
    }
}

async fn flush_log() {
    while !log::flush(Duration::ZERO) {
        tokio::time::sleep(LOG_FLUSH_POLL).await;
    }
}
