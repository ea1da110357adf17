//! The figures of a client's connections.

use super::Stats;
use crate::component::Samples;
use crate::samples;

/// The names of one client's metrics.
#[derive(Clone, Copy, Debug)]
pub struct StatsNames {
    /// Of the idle connections.
    pub idle: &'static str,
    /// Of the connections made.
    pub dialled: &'static str,
    /// Of the requests on a used connection.
    pub reused: &'static str,
    /// Of the connections found dead.
    pub found_dead: &'static str,
}

impl Stats {
    /// Writes the figures under these names, in the section begun before.
    pub fn samples(&self, names: &StatsNames, out: &mut dyn Samples) {
        let Self {
            idle,
            dialled,
            reused,
            found_dead,
        } = *self;
        samples! { out,
            gauge names.idle, "Idle connections, ready to be reused", idle as u64;
            counter names.dialled, "Connections made", dialled;
            counter names.reused, "Requests sent on a connection that had been used before", reused;
            counter names.found_dead, "Idle connections that turned out dead before a byte was written; another one was made", found_dead;
        }
    }
}
