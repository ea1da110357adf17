//! The connections to PostgreSQL as a component.

use std::num::NonZeroU32;

use super::PostgresConnector;
use crate::component::{Component, Samples};
use crate::samples;

/// The connections to PostgreSQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionStats {
    /// Most connections that are opened; `DB_MAX_CONNS`.
    pub max: NonZeroU32,
    /// Connections in use now.
    pub acquired: u64,
}

impl PostgresConnector {
    /// This connector with its figures. It opens no more than `max` connections.
    pub fn component(self, max: NonZeroU32) -> Component<Self> {
        let measured = self.clone();
        Component::new(self).figures(move |out| {
            let acquired = measured.open_connections();
            ConnectionStats { max, acquired }.samples(out);
        })
    }
}

impl ConnectionStats {
    /// Writes the figures.
    pub fn samples(&self, out: &mut dyn Samples) {
        let Self { max, acquired } = *self;
        let (max, acquired) = (f64::from(max.get()), acquired as f64);
        out.section("Bindings, replay marks and PostgreSQL");
        samples! { out,
            number "caracal_db_pool_in_use_ratio", "PostgreSQL connections in use, as a share of the most that are opened", Some(acquired / max);
            number "caracal_db_pool_max_conns", "Most PostgreSQL connections that are opened", Some(max);
            number "caracal_db_pool_acquired_conns", "PostgreSQL connections in use", Some(acquired);
        }
    }
}
