//! The commands of the binary, run as a person would.

mod demo;
mod dev;
mod evidence;
mod refusals;
