//! Binding resolution: which upstream the resource means, and whether it is safe to dial.

pub mod address;
pub mod allowlist;
pub mod entry;
pub mod judge;
pub mod lookup;
pub mod upstream_url;

pub use address::JudgedAddress;
pub use entry::{Application, Binding, BoundUrl};
pub use judge::{JudgedUpstream, judge};
pub use lookup::{Bound, resolve};
pub use upstream_url::{Origin, UpstreamUrl};
