//! Redis: one supervised connection per purpose, and an end to every wait.
//!
//! A [`Link`] is one multiplexed connection that its [`Link::run`] future makes, watches and makes
//! again. Requests never connect: they use the connection that is there, wait for one that is being
//! made, or are told at once why there is none.

mod cluster;
mod config;
mod connection;
mod connector;
mod dialer;
mod info;
mod link;
mod primary;
mod replicas;
mod sentinel;
mod slots;
mod term;
mod topology;
mod view;

pub use config::{RedisConfig, RedisServers};
pub(crate) use connection::Connection;
pub use connector::RedisConnector;
pub(crate) use info::Info;
pub use link::{Fault, Link, LinkStatus, Live};
pub(crate) use replicas::{CONFIRM_KEY, LONGEST_WAIT, WAIT_SLACK, confirmed, wait, write_and_wait};
pub use slots::{SLOTS, slot_of};
pub use topology::{Shard, Topology};
