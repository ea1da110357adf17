//! The ports over real connections, and one contract per port for every implementation of it.
//!
//! PostgreSQL and Redis come from `scripts/test -p caracal-backends`.

mod contract;
mod support;

mod audit_stream;
mod bindings;
mod bindings_outages;
mod postgres_tls;
mod replay;
mod replay_loss;
mod replay_outages;
mod revocation_outages;
mod revocation_snapshots;
mod revocation_streams;
