//! What the tests share: a hand-moved clock, minted mandates, private servers, a fault-injecting proxy, raw HTTP and
//! the gateway as a child process.
//!
//! A development dependency only. Whatever fails in here fails the test that called it, at once and with the reason;
//! nothing waits without a deadline. PostgreSQL and Redis come from `scripts/test`: a test that needs them and was
//! started without it fails and says so.
//!
//! | module | what it gives |
//! |---|---|
//! | [`clock`] | a clock that moves only by hand |
//! | [`vectors`] | the shared test vectors |
//! | [`mint`] | keys, JWKS documents, good and broken mandates |
//! | [`postgres`] | a database per test in each of the three layouts; a private server to kill |
//! | [`redis`] | a private server to kill, pause, put behind TLS; one with replicas and sentinels; a cluster; the shared one |
//! | [`proxy`] | a TCP proxy that refuses, hangs, cuts, delays, swallows, vanishes and talks garbage |
//! | [`balancer`] | a TCP load balancer |
//! | [`dns`] | a name server whose every answer the test decides |
//! | [`tls`] | a certificate authority and a TLS front for any port |
//! | [`http`] | HTTP/1.1 byte for byte, and how the answer ended |
//! | [`gateway`] | the gateway under test as a child process |
//! | [`program`] | a server of the machine, such as a reverse proxy |
//! | [`volume`] | a small volume, to be filled |
//! | [`mod@wait`] | waiting for a condition with a deadline |
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "test support: a failure here fails the test"
)]

pub mod balancer;
pub mod clock;
pub mod dns;
mod environment;
pub mod gateway;
pub mod http;
pub mod mint;
mod ports;
pub mod postgres;
mod process;
pub mod program;
pub mod proxy;
mod random;
pub mod redis;
pub mod tls;
pub mod vectors;
pub mod volume;
pub mod wait;
