//! A small real STS over HTTP and an echo upstream, both on 127.0.0.1, for the `dev`
//! and `demo` commands, the benchmark and the tests.
//!
//! It is the gateway's independent counterpart: it parses tokens and forms, verifies
//! exchange signatures and signs mandates with code of its own, so that a mistake in the
//! gateway cannot hide in a shared function. All secrets are made at random at start.
//!
//! [`Devstack::start`] demands [`admission::mode::DevOnly`], so production cannot reach it.

mod clock;
mod config;
mod error;
mod form;
mod ids;
mod revoke;
mod script;
mod secret;
mod server;
mod stack;
mod sts;
mod upstream;

pub use clock::{Clock, system_clock};
pub use config::{Binding, Client, Credential, Resource, StackConfig, Target};
pub use error::Error;
pub use revoke::{AnchorKind, Revocation, RevokeError};
pub use script::{Answer, RawAnswer, Scope, Script, Step};
pub use secret::Secret;
pub use stack::Devstack;
pub use sts::{MintRequest, Minted, Refusal, Sts, StsCounts, Use};
pub use upstream::{BodySeen, Recorded, Upstream, UpstreamCounts};
