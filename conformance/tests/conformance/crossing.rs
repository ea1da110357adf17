//! In what form requests cross, and in what form their answers come back.

mod answer;
mod attempts;
mod body;
mod codings;
mod events;
mod hints;
mod preconnect;
mod request;
mod unread;
mod untaken;

pub(crate) use body::peak;
pub(crate) use request::resource_at;
