//! Certificates, keys and authorities that change on disk while the process runs.
//!
//! One task looks at all of their files every second, away from the threads that serve, and hands on what has changed: new
//! connections are made with it, those that are open keep what they began with.

mod watched;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use admission::mode::Mode;
use admission::ports::{Cause, Clock};
use arc_swap::ArcSwap;
use backends::component::{Check, Component, Health, Samples, Stage};
use backends::samples;
use config::Renewable;
use tokio::sync::{Notify, watch};
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use watched::{Seen, Watch, Watched};

/// How often the files are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// A look that is older than this is worth an alarm: a disk does not answer.
const LOOK_OVERDUE: Duration = Duration::from_secs(30);
/// How long whoever asks for a look waits for it.
const ASKED_TIMEOUT: Duration = Duration::from_secs(5);
const SECONDS_A_DAY: f64 = 86_400.0;

/// To whom certificates are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// To callers.
    ToCallers,
    /// To servers that the gateway calls.
    ToServers,
}

/// What is watched.
pub struct Renewal {
    mode: Mode,
    clock: Arc<dyn Clock>,
    watched: Vec<Box<dyn Watch>>,
    status: Arc<Status>,
}

/// Asks for a look that does not wait, and takes what is there without a second one.
#[derive(Clone, Default)]
pub struct RenewNow {
    asked: Arc<Notify>,
    /// How many were done.
    looked: watch::Sender<u64>,
}

impl RenewNow {
    /// Asks, and waits for the look, at most five seconds: a disk may not answer.
    pub async fn look(&self) {
        let mut looked = self.looked.subscribe();
        self.asked.notify_one();
        let _late = tokio::time::timeout(ASKED_TIMEOUT, looked.changed()).await;
    }
}

/// What was found, for the figures and the readiness check.
#[derive(Default)]
struct Status {
    renewed: AtomicU64,
    refused: AtomicU64,
    seen: ArcSwap<Seen>,
}

impl Renewal {
    /// Nothing is watched yet.
    #[must_use]
    pub fn new(mode: Mode, clock: Arc<dyn Clock>) -> Self {
        Self {
            mode,
            clock,
            watched: Vec::new(),
            status: Arc::default(),
        }
    }

    /// Watches the files of a part of the configuration that is in use. `apply` puts a renewed one to use, or says why not.
    pub fn watch<T: Renewable + Send + 'static>(
        &mut self,
        shown: Shown,
        in_use: T,
        apply: impl FnMut(&T) -> Result<(), String> + Send + 'static,
    ) {
        let now = wall_clock(&*self.clock);
        let watched = Watched::new(shown, in_use, now, Box::new(apply));
        self.watched.push(Box::new(watched));
    }

    /// The task that looks at what was added until now, with its figures and its check.
    pub fn component(&mut self) -> Component<RenewNow> {
        let now = RenewNow::default();
        let (asked, checked, measured) = (now.clone(), Arc::clone(&self.status), Arc::clone(&self.status));
        let clock = Arc::clone(&self.clock);
        let mut looker = Self {
            mode: self.mode,
            clock: Arc::clone(&self.clock),
            watched: std::mem::take(&mut self.watched),
            status: Arc::clone(&self.status),
        };
        // Its files were read a moment ago.
        looker.sum(wall_clock(&*self.clock));
        let monotonic = Arc::clone(&self.clock);
        Component::new(now)
            .check(
                Check::known("certificates", "certificates_unusable", move || {
                    checked.health(monotonic.now().monotonic)
                })
                .advisory(),
            )
            .figures(move |out| measured.figures(wall_clock(&*clock)).samples(out))
            .task("certificates", Stage::Background, |stop| looker.run(asked, stop))
    }

    async fn run(mut self, now: RenewNow, stop: CancellationToken) {
        let mut tick = interval(LOOK_INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first is at once.
        tick.tick().await;
        let has_files = self.watched.iter().any(|watched| watched.has_files());
        loop {
            let asked = tokio::select! {
                () = stop.cancelled() => return,
                () = now.asked.notified() => true,
                _ = tick.tick(), if has_files => false,
            };
            // Files may lie on a disk that is slow, and a key takes some time to be judged.
            let looked = spawn_blocking(move || {
                self.look(asked);
                self
            });
            let looked = tokio::select! {
                // Whatever a dead disk holds up ends with the process.
                () = stop.cancelled() => return,
                looked = looked => looked,
            };
            // It panicked, which has had its own log line.
            let Ok(looker) = looked else { return };
            self = looker;
            if asked {
                now.looked.send_modify(|looks| *looks += 1);
            }
        }
    }

    /// Looks at all files once.
    fn look(&mut self, asked: bool) {
        let now = wall_clock(&*self.clock);
        for watched in &mut self.watched {
            let outcome = watched.look(self.mode, now, asked);
            self.status
                .renewed
                .fetch_add(outcome.renewed.into(), Ordering::Relaxed);
            self.status
                .refused
                .fetch_add(outcome.refused.into(), Ordering::Relaxed);
        }
        let refused = self.sum(now);
        if asked {
            tracing::info!(refused, "certificates, keys and authorities were read again");
        }
    }

    /// Sums up what is known of all sets, and gives how many cannot be used.
    fn sum(&mut self, now: SystemTime) -> usize {
        let mut seen = Seen {
            looked: self
                .watched
                .iter()
                .any(|watched| watched.has_files())
                .then(|| self.clock.now().monotonic),
            ..Seen::default()
        };
        self.watched
            .iter_mut()
            .for_each(|watched| watched.sum(now, &mut seen));
        let refused = seen.refused;
        self.status.seen.store(Arc::new(seen));
        refused
    }
}

fn wall_clock(clock: &dyn Clock) -> SystemTime {
    UNIX_EPOCH + clock.now().unix
}

impl Status {
    fn health(&self, now: Duration) -> Health {
        let seen = self.seen.load();
        let age = seen.looked.map(|looked| now.saturating_sub(looked));
        let fault = if age.is_some_and(|age| age >= LOOK_OVERDUE) {
            Some(
                Cause::new("the files cannot be looked at: the disk does not answer")
                    .labelled("look_overdue"),
            )
        } else if seen.refused > 0 {
            Some(Cause::new("what the files hold now cannot be used").labelled("renewal_refused"))
        } else if seen.expired {
            Some(Cause::new("a certificate has expired").labelled("certificate_expired"))
        } else {
            None
        };
        Health { fault, age: None }
    }

    fn figures(&self, now: SystemTime) -> CertificateFigures {
        let seen = self.seen.load();
        let left = |at: Option<SystemTime>| at.map(|at| seconds_left(at, now));
        CertificateFigures {
            served_seconds_left: left(seen.served_until),
            shown_seconds_left: left(seen.shown_until),
            renewed: self.renewed.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            unusable: seen.refused,
        }
    }
}

/// Negative once it has passed.
fn seconds_left(at: SystemTime, now: SystemTime) -> i64 {
    let whole = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    match at.duration_since(now) {
        Ok(left) => whole(left),
        Err(past) => -whole(past.duration()),
    }
}

/// The certificates in use, and what became of changes on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CertificateFigures {
    /// Seconds until the first of the certificates expires that callers are shown; `None` without TLS.
    pub served_seconds_left: Option<i64>,
    /// The same for those that servers are shown.
    pub shown_seconds_left: Option<i64>,
    /// Changes that were put to use.
    pub renewed: u64,
    /// Changes that were refused.
    pub refused: u64,
    /// Sets of files that cannot be used as they are now.
    pub unusable: usize,
}

impl CertificateFigures {
    /// Writes the figures.
    pub fn samples(&self, out: &mut dyn Samples) {
        let Self {
            served_seconds_left,
            shown_seconds_left,
            renewed,
            refused,
            unusable,
        } = *self;
        let days = |seconds: Option<i64>| seconds.map(|seconds| seconds as f64 / SECONDS_A_DAY);
        out.section("Certificates");
        samples! { out,
            number "caracal_gateway_certificate_expiry_days", "Days until a certificate that callers are shown expires, the first of them, negative once it has; absent without TLS", days(served_seconds_left);
            number "caracal_gateway_client_certificate_expiry_days", "The same for the certificates that the gateway shows to the STS, the stores and upstreams; absent without any", days(shown_seconds_left);
            counter "caracal_gateway_certificate_renewals_total", "Changes of certificates, keys and authorities on disk that were put to use", renewed;
            counter "caracal_gateway_certificate_renewal_errors_total", "Changes of certificates, keys and authorities on disk that were refused; what was in use before stays", refused;
            gauge "caracal_gateway_certificates_unusable", "Sets of certificates, keys and authorities whose files cannot be used as they are now", unusable as u64;
        }
    }
}

#[cfg(test)]
mod tests;
