//! One proxy under load: what it used, and how fast it was.

use std::net::SocketAddr;
use std::time::Duration;

use crate::audit::AuditStream;
use crate::child::Child;
use crate::clock;
use crate::cpu::{self, Cores, ProcessCpu};
use crate::failure::Result;
use crate::load::{self, Loop, Outcome};
use crate::memory::Resident;
use crate::requests::Requests;

/// A running proxy.
pub(crate) struct Subject {
    /// Its process.
    pub(crate) child: Child,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Where it delivers evidence, if it does.
    pub(crate) audit: Option<AuditStream>,
}

/// One load and what it cost.
pub(crate) struct Measured {
    /// What the generator saw.
    pub(crate) outcome: Outcome,
    /// CPU per answered request, from the first request until the last piece of evidence was delivered.
    pub(crate) per_request: Duration,
    /// Share of the measured core that the proxy had during the load.
    pub(crate) own_share: f64,
    /// Share that others had of the measured core meanwhile: they disturb the measurement.
    pub(crate) foreign_share: f64,
    /// Share in which the other core worked.
    pub(crate) others_share: f64,
    /// Share of the other core that the generator's thread alone had.
    pub(crate) generator_share: f64,
}

/// From this share on, work of others on the measured core is a disturbance of note.
pub(crate) const NOTEWORTHY: f64 = 0.05;

impl Measured {
    /// CPU per answered request, in microseconds.
    pub(crate) fn micros(&self) -> f64 {
        self.per_request.as_secs_f64() * 1e6
    }

    /// The same, unless a request was not answered as it should be.
    pub(crate) fn all_right(self) -> Result<Self> {
        match &self.outcome.first_failure {
            Some(why) => Err(format!("{} failed; the first: {why}", self.outcome.failed).into()),
            None => Ok(self),
        }
    }
}

impl Subject {
    /// Its memory now.
    pub(crate) fn resident(&self) -> Result<Resident> {
        Resident::of(self.child.id())
    }

    /// Puts it under load. What is counted is what the whole process used.
    pub(crate) async fn load(
        &mut self,
        requests: &Requests,
        connections: usize,
        mode: Loop,
    ) -> Result<Measured> {
        let delivered = match &mut self.audit {
            Some(audit) => audit.len().await?,
            None => 0,
        };
        let (cores, generator, began) = (Cores::now()?, cpu::of_this_thread(), clock::now());
        let before = ProcessCpu::of(self.child.id())?;
        let outcome = load::run(self.address, requests, connections, mode).await?;
        let used = ProcessCpu::of(self.child.id())?.since(&before);
        let generator = cpu::of_this_thread().saturating_sub(generator);
        let (elapsed, cores_then) = (clock::now().duration_since(began), Cores::now()?);
        if let Some(audit) = self.audit.as_mut().filter(|_| requests.are_allowed()) {
            audit.delivered(delivered + outcome.latencies.count()).await?;
        }
        let used_in_all = ProcessCpu::of(self.child.id())?.since(&before);
        let share = |part: Duration| part.as_secs_f64() / elapsed.as_secs_f64().max(1e-9);
        let answered = u32::try_from(outcome.latencies.count().max(1)).unwrap_or(u32::MAX);
        let busy = cores_then.busy_since(&cores, cpu::MEASURED);
        Ok(Measured {
            per_request: used_in_all / answered,
            own_share: share(used),
            foreign_share: (busy - share(used)).max(0.0),
            others_share: cores_then.busy_since(&cores, cpu::OTHERS),
            generator_share: share(generator),
            outcome,
        })
    }
}
