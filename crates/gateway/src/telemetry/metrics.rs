//! Counters and histograms of the request path.
//!
//! Whoever handles a request calls [`Metrics`]: atomics, and a short lock for each of the two histograms with
//! exemplars. Nothing here looks a label up at run time. What others count they write to the [`Page`] themselves,
//! each metric with its name, type and meaning; the formats are renderings of that page.

mod exemplar;
mod histogram;
mod json;
mod legacy;
mod markdown;
mod own;
mod page;
mod text;

#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use admission::Denial;
use admission::denial::Stage;
use backends::component::milliseconds;
use config::LaxFlag;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::exemplar::HistogramWithExemplars;

use self::exemplar::TraceId;
use self::histogram::Histogram;
use super::About;

pub use markdown::markdown;
pub use page::Page;

/// The counters and histograms of this process.
#[derive(Debug)]
pub struct Metrics {
    about: About,
    lax: Vec<LaxFlag>,
    received: Counter,
    allowed: Counter,
    /// Upstream failures after the response head; those before it are denials.
    upstream_errors: Counter,
    /// Exchanges that the STS refused with a server error.
    sts_server_errors: Counter,
    client_ids_ignored: Counter,
    preflights: Counter,
    switched: Counter,
    denials: [Counter; Denial::ALL.len()],
    last_exchange_millis: AtomicU64,
    stages: GateStages,
    exchange: Histogram,
    first_byte: HistogramWithExemplars<TraceId>,
    request: HistogramWithExemplars<TraceId>,
    run_queue_delay: Histogram,
}

/// One histogram for each stage of the gates.
#[derive(Debug, Default)]
struct GateStages {
    preflight: Histogram,
    token: Histogram,
    binding: Histogram,
    exchange: Histogram,
}

impl Metrics {
    /// Counters at zero, with the lax flags that are on.
    #[must_use]
    pub fn new(about: About, lax: Vec<LaxFlag>) -> Arc<Self> {
        let with_exemplars = || HistogramWithExemplars::new(histogram::bounds());
        Arc::new(Self {
            about,
            lax,
            received: Counter::default(),
            allowed: Counter::default(),
            upstream_errors: Counter::default(),
            sts_server_errors: Counter::default(),
            client_ids_ignored: Counter::default(),
            preflights: Counter::default(),
            switched: Counter::default(),
            denials: std::array::from_fn(|_| Counter::default()),
            last_exchange_millis: AtomicU64::new(0),
            stages: GateStages::default(),
            exchange: Histogram::default(),
            first_byte: with_exemplars(),
            request: with_exemplars(),
            run_queue_delay: Histogram::default(),
        })
    }

    /// A request to be proxied arrived.
    pub fn received(&self) {
        self.received.inc();
    }

    /// Every gate of a stage let a request pass, and took so long together. Only the gates' stages are measured.
    pub fn passed(&self, stage: Stage, took: Duration) {
        let histogram = match stage {
            Stage::Preflight => &self.stages.preflight,
            Stage::Token => &self.stages.token,
            Stage::Binding => &self.stages.binding,
            Stage::Exchange => &self.stages.exchange,
            Stage::Ingress | Stage::Crossing => return,
        };
        histogram.observe(took);
    }

    /// A request was refused, before its dispatch or after it.
    pub fn denied(&self, denial: Denial) {
        if let Some(counter) = self.denials.get(denial as usize) {
            counter.inc();
        }
    }

    /// The STS refused an exchange ([`Denial::ExchangeRefused`]) with this status.
    pub fn denied_by_sts(&self, status: u16) {
        self.denied(Denial::ExchangeRefused);
        if status >= 500 {
            self.sts_server_errors.inc();
        }
    }

    /// A request was proxied to its end.
    pub fn allowed(&self) {
        self.allowed.inc();
    }

    /// An upstream failed after its response head.
    pub fn upstream_error(&self) {
        self.upstream_errors.inc();
    }

    /// An exchange with the STS ended, however it ended.
    pub fn exchange(&self, took: Duration) {
        self.last_exchange_millis
            .store(milliseconds(took), Ordering::Relaxed);
        self.exchange.observe(took);
    }

    /// The upstream's response head arrived, so long after the request.
    pub fn first_byte(&self, took: Duration, trace_id: Option<&str>) {
        let exemplar = trace_id.and_then(TraceId::parse);
        self.first_byte.observe(took.as_secs_f64(), exemplar, None);
    }

    /// A request ended, however it ended.
    pub fn request(&self, took: Duration, trace_id: Option<&str>) {
        let exemplar = trace_id.and_then(TraceId::parse);
        self.request.observe(took.as_secs_f64(), exemplar, None);
    }

    /// A task that could run waited so long for a thread.
    pub fn run_queue_delay(&self, delay: Duration) {
        self.run_queue_delay.observe(delay);
    }

    /// A preflight of a listed origin was answered.
    pub fn preflight(&self) {
        self.preflights.inc();
    }

    /// The protocol of a connection, or of a stream of it, was switched.
    pub fn switched(&self) {
        self.switched.inc();
    }

    /// A caller sent `X-Caracal-Client-ID`, which is never used.
    pub fn client_id_ignored(&self) {
        self.client_ids_ignored.inc();
    }
}
