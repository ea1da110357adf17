//! The environment becomes a [`Config`], or every violation at once.
//!
//! * [`keys`] declares every variable once: name, kind, default, meaning, and whether it is a secret.
//! * `reader` reads them over an [`Env`] and remembers what is wrong; `grammar` knows how values are spelled.
//! * Each part of the [`Config`] has a file that reads its variables and holds their rules, those of production too.
//! * [`Config`] is what remains: typed, with a proof of development mode in every lax option.
//! * [`checklist`] answers `caracal-gateway check`; [`render`] writes `--help` and `docs/configuration.md`.
//!
//! Only [`ProcessEnv`] reads the process environment, and [`Sockets::take`] what was handed over beside it. Secrets have no `Display`, and no error repeats one.

mod anchor;
mod checklist;
mod cors;
mod egress;
mod endpoints;
mod env;
mod file;
mod gates;
mod grammar;
mod identity;
pub mod keys;
mod limits;
mod listener;
mod load;
mod manager;
mod named;
mod operator;
mod pem;
mod postgres;
mod reader;
mod redis;
pub mod render;
mod renewal;
mod secret;
mod server_tls;
mod signing;
mod stores;
mod sts;
mod tls;
mod upgrades;
mod violation;
mod warning;

#[cfg(test)]
mod tests;

pub use anchor::{Anchor, AnchorTransport, AnchorUrl};
pub use checklist::{ChecklistLine, Status, checklist};
pub use egress::Egress;
pub use env::{Env, Layered, MapEnv, ProcessEnv};
pub use file::Contents;
pub use gates::Gates;
pub use identity::{Identity, IdentityError};
pub use limits::{Capacity, Timeouts};
pub use listener::{Listener, ProxyProtocol, Transport};
pub use load::{Config, EvidenceAccess, StandAlone};
pub use manager::{HandedOver, HandedOverError, NotifySocket, ServiceManager, Sockets};
pub use named::NamedCertificates;
pub use operator::{Evidence, Fsync, LifeCycle, LogLevel, MetricsAccess, Operator};
pub use pem::{Kinds, PemFault};
pub use postgres::{DatabaseUrl, SslMode};
pub use redis::RedisServers;
pub use renewal::Renewable;
pub use secret::{CheckpointSecret, HmacKey, Secret};
pub use server_tls::{ClientCertificates, ServerTls};
pub use signing::SigningKeys;
pub use stores::{Database, External, Redis, Stores};
pub use sts::{Sts, StsTransport};
pub use tls::{Authorities, ClientTls, EXPIRES_SOON_DAYS};
pub use violation::{PREFIX, Quoted, Violation, Violations};
pub use warning::{LaxFlag, Warning};
