//! May this request reach the upstream? Pure decisions, one gate a file.
//!
//! A request walks through [`Admission::admit`]. Each gate is a function in a file of its own
//! that consumes the evidence of the gate before it and returns its own; the evidence has
//! private fields, so only that file can make it. The end of the walk is a [`Permit`], or a
//! [`Refused`] whose [`Denial`] alone decides what the caller sees.
//!
//! No clock, no randomness, no input or output, no logging and no environment: what the gates
//! ask of the world are the traits in [`ports`].
//!
//! A gate cannot be skipped:
//!
//! ```compile_fail,E0308
//! use admission::{limits::Limits, received::Head, token};
//! fn skip<'r>(head: Head<'r>, scratch: &'r mut token::Scratch, limits: &Limits, now: admission::ports::Moment) {
//!     let _ = token::parse(head, scratch, limits, now); // the preflight did not run
//! }
//! ```
//!
//! ```
//! use admission::{limits::Limits, preflight, received::Head, token};
//! fn walk<'r>(head: Head<'r>, scratch: &'r mut token::Scratch, limits: &Limits, now: admission::ports::Moment) {
//!     let Ok(request) = preflight::check(head, limits, |_| ()) else { return };
//!     let _ = token::parse(request, scratch, limits, now);
//! }
//! ```

pub mod admission;
pub mod admit;
pub mod received;

pub mod preflight;
pub mod token;

pub mod binding;
pub mod exchange;

pub mod denial;
pub mod journal;
pub mod refused;
pub mod subject;

pub mod limits;
pub mod mode;
pub mod ports;

mod cause;
pub mod credential;
pub mod fields;
mod identifier;
mod moment;
pub mod names;
mod percent;
mod scan;
pub mod scheme;
mod secret;
pub mod subprotocols;
pub mod traversal;
pub mod upgrade;
mod waiting;

pub use admission::Admission;
pub use admit::permit::{Admitted, Permit, PermitParts};
pub use credential::{Credential, CredentialError};
pub use denial::Denial;
pub use journal::{CrossingFacts, Journal};
pub use received::Received;
pub use refused::{Refused, StsRefusal};
pub use scheme::Scheme;
pub use subject::{Subject, Usage};
pub use upgrade::{Upgrade, Upgrades};
pub use waiting::{OwnPlace, OwnPlaceTaken};
