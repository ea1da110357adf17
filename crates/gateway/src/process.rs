//! The life of the process: listen, serve, drain, end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::ingress::connection::Shutdown;
use crate::ingress::listener::{Acceptor, Listener};
use crate::supervisor::Supervisor;
use crate::telemetry::log::LineSink;

/// Ended as asked.
pub const OK: i32 = 0;
/// A background task died (`EX_SOFTWARE`).
pub const INTERNAL: i32 = 70;
/// The configuration is at fault (`EX_CONFIG`).
pub const CONFIG: i32 = 78;
/// How long event streams may take to end cleanly, and cut connections to put their ends on record.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How long the background tasks may take to flush what they hold.
const FLUSH: Duration = Duration::from_secs(6);

/// What asks the process to stop.
pub struct Stop(Asked);

enum Asked {
    Signals { term: Signal, int: Signal },
    Token(CancellationToken),
}

impl Stop {
    /// SIGTERM and SIGINT; a second one ends the process at once.
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

    async fn asked(&mut self) {
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

/// How long the steps of the end may take.
#[derive(Clone, Copy, Debug)]
pub struct EndTimes {
    /// `DRAIN_DELAY`: not ready any more, but still accepting.
    pub drain_delay: Duration,
    /// `SHUTDOWN_GRACE`: for the requests in flight.
    pub grace: Duration,
}

/// A gateway that is wired and bound, and not running yet.
pub struct Server {
    pub(crate) listener: Listener,
    pub(crate) acceptor: Acceptor,
    /// The operator's own listener, when `OPERATOR_ADDR` is set.
    pub(crate) operator: Option<(Listener, Acceptor)>,
    pub(crate) supervisor: Supervisor,
    pub(crate) shutdown: Shutdown,
    /// Turns `/ready` to `draining`.
    pub(crate) draining: CancellationToken,
    pub(crate) times: EndTimes,
    pub(crate) lines: Arc<LineSink>,
}

impl Server {
    /// Where callers connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// Serves until asked to stop, and returns the exit code.
    pub async fn run(self, mut stop: Stop) -> i32 {
        let Self {
            listener,
            acceptor,
            operator,
            supervisor,
            shutdown,
            draining,
            times,
            lines,
        } = self;
        let closing = CancellationToken::new();
        tracing::info!(addr = %listener.address(), "listening");
        let accept = listener.run(acceptor, closing.clone());
        supervisor.background("listener", |stop| patiently(accept, closing.clone(), stop));
        if let Some((listener, acceptor)) = operator {
            tracing::info!(addr = %listener.address(), "operator endpoints listening");
            let accept = listener.run(acceptor, closing.clone());
            supervisor.background("operator listener", |stop| {
                patiently(accept, closing.clone(), stop)
            });
        }
        let code = tokio::select! {
            () = stop.asked() => OK,
            () = supervisor.failure() => INTERNAL,
        };
        let connections = supervisor.inbound().clone();
        let end = async {
            tracing::info!("draining");
            draining.cancel();
            if code == OK {
                tokio::time::sleep(times.drain_delay).await;
            }
            // Before the listener closes: who sees it closed can rely on the drain having begun.
            shutdown.drain.cancel();
            closing.cancel();
            connections.close();
            if tokio::time::timeout(times.grace, connections.wait())
                .await
                .is_err()
            {
                // First what can end cleanly; a connection that is dropped has no last chunk.
                shutdown.streams.cancel();
                if tokio::time::timeout(LAST_WORDS, connections.wait())
                    .await
                    .is_err()
                {
                    shutdown.cut.cancel();
                    let _late = tokio::time::timeout(LAST_WORDS, connections.wait()).await;
                }
            }
            if tokio::time::timeout(FLUSH, supervisor.finish()).await.is_err() {
                tracing::error!(
                    "background tasks did not finish within 6 s; evidence stays in the spool for the next start"
                );
            }
        };
        tokio::select! {
            () = end => tracing::info!("stopped"),
            () = stop.asked_again() => tracing::warn!("stopped at once by a second signal; evidence stays in the spool"),
        }
        lines.flush();
        code
    }
}

/// A listener ends when it is closed, long before the supervisor tells it to: it waits, so that
/// its end is not taken for a death.
async fn patiently(accept: impl Future<Output = ()>, closing: CancellationToken, stop: CancellationToken) {
    accept.await;
    if closing.is_cancelled() {
        stop.cancelled().await;
    }
}
