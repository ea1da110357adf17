//! Names and passwords that nobody else has.

use data_encoding::HEXLOWER;

/// 16 random bytes in lower-case hex.
pub(crate) fn hex() -> String {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).expect("random bytes");
    HEXLOWER.encode(&bytes)
}
