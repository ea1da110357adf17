//! From the spool to the audit stream.

mod adopted;
mod batch;
mod delivery;
mod run;
mod sink;

#[cfg(test)]
pub(crate) use batch::Batch;
pub use run::Shipper;
pub use sink::{BoxFuture, Shipment, SinkError, StreamSink};

#[cfg(test)]
mod tests;
