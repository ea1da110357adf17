//! The ports over real connections, and one contract per port for every implementation of it.
//!
//! PostgreSQL and Redis come from `scripts/test -p caracal-backends`.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests: a failure here fails the test"
)]

mod authority;
mod contract;
mod support;

mod anchor;
mod audit_stream;
mod bindings;
mod bindings_announced;
mod bindings_heard;
mod bindings_outages;
mod dns;
mod dns_answers;
mod embedded;
mod jwks;
mod local_faults;
mod own_endpoints;
mod postgres_tls;
mod redis_cluster;
mod redis_rights;
mod redis_sentinel;
mod replay;
mod replay_cluster;
mod replay_confirmations;
mod replay_loss;
mod replay_memory;
mod replay_outages;
mod replay_server;
mod replay_slots;
mod revocation_outages;
mod revocation_snapshots;
mod revocation_streams;
mod sts;
mod sts_recovery;
