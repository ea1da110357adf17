//! What the gates and the operator need of the world, whoever provides it.

use std::sync::Arc;

use admission::ports::{Bindings, ReplayMarks, Revocations};
use evidence::StreamSink;

use crate::operator::Reload;
use crate::operator::probe::Probe;
use crate::telemetry::figures::{BindingFigures, DatabaseFigures, ReplayFigures, RevocationFigures};

/// The stores behind the gates.
pub(super) struct World {
    pub(super) revocations: Arc<dyn Revocations>,
    pub(super) bindings: Arc<dyn Bindings>,
    pub(super) replay: Arc<dyn ReplayMarks>,
    pub(super) sink: Arc<dyn StreamSink>,
    pub(super) figures: Box<dyn Fn() -> StoreFigures + Send + Sync>,
    pub(super) bindings_probe: Probe,
    pub(super) redis_probe: Probe,
    pub(super) revocations_probe: Probe,
    pub(super) reload: Reload,
}

/// The stores' part of the metrics.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct StoreFigures {
    pub(super) revocation: RevocationFigures,
    pub(super) bindings: BindingFigures,
    pub(super) replay: ReplayFigures,
    pub(super) database: Option<DatabaseFigures>,
}
