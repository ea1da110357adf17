//! Every row of the table of gates: condition and wire answer.

mod binding;
mod exchange;
mod preflight;
mod token;

use crate::scene::{Scene, Walked};

/// Walks a changed scene and compares the answer that the refusal gives.
fn refuses(change: impl FnOnce(&mut Scene), status: u16, error: &str, description: &str) -> Walked {
    let walked = Scene::with(change).walk();
    let row = walked.denial().expect("a refusal").row();
    assert_eq!(
        (row.status.as_u16(), row.error, row.description),
        (status, error, description)
    );
    walked
}
