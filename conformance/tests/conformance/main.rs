//! The gateway as its clients, its operators and its neighbours see it: a process with an environment, between real
//! sockets, a real Redis, a real PostgreSQL, a scripted STS and an echo upstream.
//!
//! Nothing here knows how the gateway is made; `GATEWAY_UNDER_TEST` may name any other. `conformance/README.md` tells
//! how. Each test is named after gate, condition and outcome. A world costs processes, so a test walks through a
//! whole table of cases and reports every failure at once.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a helper that fails fails the test that called it"
)]

mod consumer;
mod frames;
mod hand;
mod report;
mod wire;
mod world;

// The product, from the front door inwards.
mod bindings;
mod circuit;
mod clients;
mod cluster;
mod connections;
mod cors;
mod egress;
mod endings;
mod exchange;
mod grpc;
mod handed_over;
mod main_path;
mod metrics_page;
mod operator;
mod preflight;
mod proxies;
mod replay;
mod stand_alone;
mod startup;
mod token;
mod traffic;
mod transport;
mod upstream_http2;

// What crosses, what it leaves behind, and what goes wrong around it.
mod crossing;
mod event_comments;
mod evidence;
mod fidelity;
mod leaks;
mod lifecycle;
mod limits;
mod local_faults;
mod matrix;
mod mixed;
mod open_files;
mod outage;
mod process;
mod replicas;
mod restarts;
mod revocation;
mod sentinel;
mod smuggling;
mod streaming;
mod threats;
mod unverified;
mod upgrades;
