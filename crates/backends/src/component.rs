//! What a backend hands to the process: its port, its readiness check, its figures and its tasks.
//!
//! The process adds components to a list and knows nothing else of them, so a new store is one file here and
//! one line there.

use std::time::Duration;

use admission::ports::{BoxFuture, Cause};
use tokio_util::sync::CancellationToken;

/// One backend. Nothing of it runs until its tasks are spawned.
#[must_use]
pub struct Component<P> {
    /// What others use of it.
    pub port: P,
    /// What `/ready` asks of it.
    pub checks: Vec<Check>,
    /// What it shows on the metrics page.
    pub figures: Vec<Figures>,
    /// What must run for it.
    pub tasks: Vec<Task>,
}

impl<P> Component<P> {
    /// A port that is neither asked, measured nor run, so far.
    pub fn new(port: P) -> Self {
        Self {
            port,
            checks: Vec::new(),
            figures: Vec::new(),
            tasks: Vec::new(),
        }
    }

    /// With a readiness check.
    pub fn check(mut self, check: Check) -> Self {
        self.checks.push(check);
        self
    }

    /// With figures.
    pub fn figures(mut self, write: impl Fn(&mut dyn Samples) + Send + Sync + 'static) -> Self {
        self.figures.push(Box::new(write));
        self
    }

    /// With a task.
    pub fn task<F>(
        mut self,
        name: &'static str,
        stage: Stage,
        run: impl FnOnce(CancellationToken) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.tasks.push(Task {
            name,
            stage,
            run: Box::new(|stop| Box::pin(run(stop))),
        });
        self
    }

    /// Takes over everything of another component but its port, which is returned.
    pub fn add<Q>(&mut self, other: Component<Q>) -> Q {
        self.checks.extend(other.checks);
        self.figures.extend(other.figures);
        self.tasks.extend(other.tasks);
        other.port
    }
}

/// What `/ready` asks of one dependency.
pub struct Check {
    /// Its key in the answer.
    pub name: &'static str,
    /// The reason that the answer gives while it fails.
    pub reason: &'static str,
    /// What the start of the process waits for, in the words of its error; `None` where it does not wait.
    pub awaited: Option<&'static str>,
    /// Whether the process is ready all the same while it fails, because it does the rest of its work.
    pub is_advisory: bool,
    /// Asks.
    pub probe: Probe,
}

impl Check {
    /// A check of what is known in memory. The start does not wait for it.
    #[must_use]
    pub fn known(
        name: &'static str,
        reason: &'static str,
        read: impl Fn() -> Health + Send + Sync + 'static,
    ) -> Self {
        Self {
            name,
            reason,
            awaited: None,
            is_advisory: false,
            probe: Box::new(move || Box::pin(std::future::ready(read()))),
        }
    }

    /// The same, but while it fails the process is degraded, and ready.
    #[must_use]
    pub fn advisory(mut self) -> Self {
        self.is_advisory = true;
        self
    }

    /// The same, but the process does not start before it succeeds: every request would be refused.
    #[must_use]
    pub fn awaited_as(mut self, what: &'static str) -> Self {
        self.awaited = Some(what);
        self
    }
}

/// Asks one dependency how it is. Whoever asks bounds the wait.
pub type Probe = Box<dyn Fn() -> BoxFuture<'static, Health> + Send + Sync>;

/// How a dependency is.
#[derive(Clone, Debug)]
pub struct Health {
    /// Why it does not work; none when it does. For the log, never for an answer.
    pub fault: Option<Cause>,
    /// How old this knowledge is, where it has an age.
    pub age: Option<Duration>,
}

impl Health {
    /// It works.
    #[must_use]
    pub fn well(age: Option<Duration>) -> Self {
        Self { fault: None, age }
    }
}

/// Writes the figures of one component, read from memory.
pub type Figures = Box<dyn Fn(&mut dyn Samples) + Send + Sync>;

/// The metrics page that figures are written to. A metric is declared where it is written: name, type and help.
///
/// What writes a struct of figures takes it apart without `..`, so that a new field cannot be forgotten.
pub trait Samples {
    /// Begins, or continues, a section of the page.
    fn section(&mut self, title: &'static str);
    /// A number that only grows. Its name ends in `_total`.
    fn counter(&mut self, name: &'static str, help: &'static str, value: u64);
    /// A whole number.
    fn gauge(&mut self, name: &'static str, help: &'static str, value: u64);
    /// A number that an installation may not have.
    fn number(&mut self, name: &'static str, help: &'static str, value: Option<f64>);
}

/// Writes samples to a page, a row each: type, name, help, value.
#[macro_export]
macro_rules! samples {
    ($out:ident, $($kind:ident $name:expr, $help:literal, $value:expr;)*) => {
        $($out.$kind($name, $help, $value);)*
    };
}

/// An age in whole seconds, as a gauge shows it: the greatest number where there is none yet.
#[must_use]
pub fn age_in_seconds(age: Option<Duration>) -> u64 {
    age.map_or(u64::MAX, |age| age.as_secs())
}

/// A time in whole milliseconds: the greatest number where it does not fit into one.
#[must_use]
pub fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A task that must live as long as the process.
pub struct Task {
    /// Its name in the log.
    pub name: &'static str,
    /// When it is asked to end.
    pub stage: Stage,
    /// Its run, given the token on which it ends.
    pub run: Box<dyn FnOnce(CancellationToken) -> BoxFuture<'static, ()> + Send>,
}

/// When a task is asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// First, while what others rest on still runs.
    Background,
    /// When every background task has ended: it delivers what they leave at their ends, such as the last sums.
    Delivery,
    /// When all of those have ended: others need it for their own ending, such as a connection to a store.
    Foundation,
}
