//! The gateway: sockets, wiring, life cycle, operator endpoints, telemetry, command line.
//!
//! In the order of a request: [`ingress`] accepts it, [`front`] tells the operator's endpoints
//! from the proxied rest, [`proxy`] runs it through the gates of `admission`, records its intent,
//! [`upstream`] sends it, [`relay`] streams the answer back.

pub mod ingress;

pub mod cors;
pub mod front;
pub mod proxy;
pub mod refusal;

pub mod record;

pub mod authority;

pub mod upstream;

pub mod relay;

pub mod operator;
pub mod telemetry;

pub mod cli;
pub mod commands;
pub mod process;
pub mod renewal;
pub mod service_manager;
pub mod supervisor;
pub mod wiring;

pub mod clock;
pub mod ids;
