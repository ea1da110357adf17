//! The ports of admission and evidence made real: Redis, PostgreSQL, STS over HTTP and DNS, and the embedded ones.

pub mod dns;
pub mod http;
pub mod jwks;
pub mod sts;
pub mod tls;

pub mod anchor;
pub mod audit_reader;
pub mod audit_stream;
pub mod bindings;
pub mod component;
pub mod postgres;
pub mod redis;
pub mod replay;
pub mod revocation;
pub mod stand_alone;

pub mod embedded;

pub mod keepalive;

mod endpoint;
mod last_seen;
mod local;
mod log_limit;
mod pause;
pub mod pem;
mod single_flight;
mod token_bucket;
