//! What every implementation of a port does, embedded or real. Each contract is one function.

pub(crate) mod bindings;
pub(crate) mod replay;
pub(crate) mod revocations;
