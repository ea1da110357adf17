//! Intervals and bounds.

use std::time::Duration;

/// Intervals and bounds of the bindings.
#[derive(Clone, Copy, Debug)]
pub struct BindingsConfig {
    /// Time between two full reads, or two looks at the revision where triggers keep it.
    pub reload_every: Duration,
    /// The same where there are triggers and yet nothing is heard of them.
    pub look_unheard_every: Duration,
    /// Time between two notifications that the gateway sends to itself, to know that it hears.
    pub probe_every: Duration,
    /// How long one of them may be on its way.
    pub probe_timeout: Duration,
    /// The longest that a request waits for a lookup in the database.
    pub lookup_timeout: Duration,
    /// How many lookups in the database are allowed in a second.
    pub max_lookups_per_second: u32,
    /// How many lookups may wait at the same time.
    pub max_lookups_waiting: usize,
    /// How many bindings are loaded at most; more are an error.
    pub max_bindings: usize,
}

impl Default for BindingsConfig {
    fn default() -> Self {
        Self {
            reload_every: Duration::from_secs(30),
            look_unheard_every: Duration::from_secs(5),
            probe_every: Duration::from_secs(60),
            probe_timeout: Duration::from_secs(5),
            lookup_timeout: Duration::from_secs(1),
            max_lookups_per_second: 100,
            max_lookups_waiting: 1024,
            max_bindings: 1_000_000,
        }
    }
}
