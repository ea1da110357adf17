//! Figures that other rooms own, read once for each scrape.

use admission::exchange::circuit::CircuitFigures;

/// Reads the figures of the other rooms. It must not wait.
pub type FigureSource = Box<dyn Fn() -> Figures + Send + Sync>;

/// The figures of one scrape.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// The circuit of the STS.
    pub circuit: CircuitFigures,
    /// The evidence spool and its shipper.
    pub evidence: evidence::Stats,
    /// The revocation state.
    pub revocation: RevocationFigures,
    /// The bindings.
    pub bindings: BindingFigures,
    /// The zones' signing keys.
    pub keys: KeyFigures,
    /// The replay store.
    pub replay: ReplayFigures,
    /// The PostgreSQL connections; `None` where there is no PostgreSQL.
    pub database: Option<DatabaseFigures>,
    /// What the listener holds.
    pub capacity: CapacityFigures,
    /// Seconds until the served certificate expires, negative once it has; `None` without TLS.
    pub certificate_seconds_left: Option<i64>,
    /// Log lines that were dropped because the sink was full or broken.
    pub log_lines_dropped: u64,
}

/// The revocation state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RevocationFigures {
    /// Anchors in memory.
    pub active: u64,
    /// Seconds since the last snapshot was loaded.
    pub snapshot_age_seconds: u64,
    /// Seconds since the revocation streams last answered.
    pub stream_age_seconds: u64,
    /// Whether the state is fresh enough to admit requests.
    pub fresh: bool,
    /// Stream messages that were applied.
    pub messages: u64,
    /// Stream messages that verified but could not be applied as they stand, so that a snapshot was taken instead.
    pub unusable: u64,
    /// Stream messages whose signature did not verify.
    pub invalid_signatures: u64,
    /// Snapshots that were loaded.
    pub reloads: u64,
    /// Snapshots that could not be loaded.
    pub reload_errors: u64,
    /// Age in seconds of the last applied message when it was applied.
    pub propagation_seconds: u64,
}

/// The bindings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BindingFigures {
    /// Bindings in memory.
    pub loaded: u64,
    /// Seconds since the snapshot in memory was confirmed.
    pub age_seconds: u64,
    /// Snapshots that were loaded.
    pub reloads: u64,
    /// Snapshots that could not be loaded.
    pub reload_errors: u64,
}

/// The zones' signing keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyFigures {
    /// Zones whose keys are in memory.
    pub zones: u64,
    /// Key sets that were fetched.
    pub fetches: u64,
    /// Key sets that could not be fetched or were not usable.
    pub fetch_errors: u64,
}

/// The replay store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplayFigures {
    /// Times the store was found to have lost its memory.
    pub losses: u64,
    /// Marks that the store could not set or answer for in time.
    pub errors: u64,
}

/// The PostgreSQL connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DatabaseFigures {
    /// Most connections that are opened.
    pub max: u64,
    /// Connections in use now.
    pub acquired: u64,
}

/// What the listener holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CapacityFigures {
    /// Open connections.
    pub connections: u64,
    /// Requests in flight.
    pub requests: u64,
}
