//! The form encoding of exchange requests.

use percent_encoding::percent_encode;

use crate::percent::{NOT_UNRESERVED, is_unreserved};
use crate::scan;

/// `application/x-www-form-urlencoded` in the one spelling that both generations of the STS
/// accept: unreserved bytes (RFC 3986 §2.3) as they are, space as `+`, the rest `%XX` in upper case.
pub(super) fn encode_form(fields: &[(&str, &[u8])]) -> String {
    let room = fields
        .iter()
        .map(|(name, value)| name.len() + value.len() + 2)
        .sum::<usize>();
    let mut out = String::with_capacity(room + room / 4);
    for (name, value) in fields {
        if !out.is_empty() {
            out.push('&');
        }
        out.push_str(name);
        out.push('=');
        // A mandate is one long run of unreserved bytes, which need not go through the encoder.
        match std::str::from_utf8(value) {
            Ok(plain) if scan::all(value, is_unreserved) => out.push_str(plain),
            _ => {
                for run in percent_encode(value, NOT_UNRESERVED) {
                    out.push_str(if run == "%20" { "+" } else { run });
                }
            }
        }
    }
    out
}
