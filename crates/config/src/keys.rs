//! Every variable, declared once: parsing defaults, `--help` and `docs/configuration.md` all come from here.

pub(crate) mod backends;
mod declaration;
pub(crate) mod gates;
pub(crate) mod limits;
pub(crate) mod listener;
pub(crate) mod manager;
pub(crate) mod operation;

pub use declaration::{Key, Kind, Preset, Section};

/// Every section, in the order of the documentation.
pub const SECTIONS: &[Section] = &[
    listener::MODE,
    listener::LISTENER,
    limits::TIME,
    limits::CAPACITY,
    gates::MANDATES,
    gates::STS,
    gates::UPSTREAMS,
    backends::REDIS,
    backends::DATABASE,
    operation::EVIDENCE,
    operation::OPERATOR,
    operation::LIFE_CYCLE,
    manager::SERVICE_MANAGER,
];

/// Every variable.
pub fn all() -> impl Iterator<Item = &'static Key> {
    SECTIONS.iter().flat_map(|section| section.keys)
}
