//! Names and passwords that nobody else has.

use std::fmt::Write as _;

/// 16 random bytes in lower-case hex.
pub(crate) fn hex() -> String {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).expect("random bytes");
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string grows");
        text
    })
}
