//! May this request reach the upstream? Pure decisions, one gate a file.
pub mod limits;
pub mod mode;
