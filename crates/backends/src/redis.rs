//! Redis: one supervised connection per purpose, and an end to every wait.
//!
//! A [`Link`] is one multiplexed connection that its [`Link::run`] future makes, watches and makes
//! again. Requests never connect: they use the connection that is there, wait for one that is being
//! made, or are told at once why there is none.

mod connector;
mod info;
mod link;

pub use connector::{RedisConfig, RedisConnector};
pub(crate) use info::Info;
pub(crate) use link::not_primary;
pub use link::{Fault, Link, LinkStatus, Live};
