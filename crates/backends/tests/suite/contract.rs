//! What every implementation of a port does, embedded or real. Each contract is one function.

pub(crate) mod bindings;
pub(crate) mod replay;
pub(crate) mod resolver;
pub(crate) mod revocations;
pub(crate) mod signing_keys;
pub(crate) mod sts;
