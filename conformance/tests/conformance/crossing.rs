//! In what form requests cross, and in what form their answers come back.

mod answer;
mod body;
mod request;

pub(crate) use request::resource_at;
