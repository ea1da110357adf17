//! The form encoding of exchange requests.

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
        encode_value(value, &mut out);
    }
    out
}

/// A mandate is one long run of unreserved bytes: runs are copied whole.
fn encode_value(value: &[u8], out: &mut String) {
    let mut rest = value;
    while !rest.is_empty() {
        let end = rest
            .iter()
            .position(|byte| !is_unreserved(*byte))
            .unwrap_or(rest.len());
        let (run, after) = rest.split_at(end);
        out.push_str(std::str::from_utf8(run).unwrap_or_default());
        rest = match after.split_first() {
            None => after,
            Some((b' ', after)) => {
                out.push('+');
                after
            }
            Some((byte, after)) => {
                out.push('%');
                push_hex(*byte, b"0123456789ABCDEF", out);
                after
            }
        };
    }
}

const fn is_unreserved(byte: u8) -> bool {
    matches!(byte, b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~')
}

pub(super) fn push_hex(byte: u8, digits: &[u8; 16], out: &mut String) {
    for value in [byte >> 4, byte & 15] {
        if let Some(digit) = digits.get(usize::from(value)) {
            out.push(char::from(*digit));
        }
    }
}
