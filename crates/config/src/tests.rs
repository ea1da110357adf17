//! The crate as a whole: environments in, configurations, violations and warnings out.

mod anchor;
mod certificates;
mod check;
pub(crate) mod fixture;
mod leaks;
mod malformed;
mod matrix;
mod named;
mod pem;
mod sts;
mod table;
mod units;
mod values;
