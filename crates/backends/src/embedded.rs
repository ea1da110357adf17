//! The stores in memory, for the `dev` and `demo` commands. Every constructor demands the proof
//! of development mode: in production nothing here can be made.
//!
//! They keep what one process knows, and pass the same contract suites as the real ones.

mod audit;
mod bindings;
mod component;
mod replay;

pub use audit::MemoryStream;
pub use bindings::MemoryBindings;
pub use replay::MemoryReplay;

pub use crate::revocation::MemoryRevocations;
