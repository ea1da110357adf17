//! Whether a path stays where it points, however often another hop decodes it.
//!
//! The raw path, the path after one and after two percent-decodings are each split on `/`
//! and `\`; a part that is `.` or `..` before any `;` is traversal, and a backslash, NUL or
//! control byte anywhere is refused. Three passes over at most 16 KiB: time is linear in the
//! path, whatever it nests.

use std::borrow::Cow;

use crate::scan;

/// How often another hop may decode a path before it means something else.
const DECODINGS: usize = 2;

/// The path leaves its place, or could be read as doing so.
#[derive(Debug, PartialEq, Eq)]
pub struct Traversal;

/// The predicate, for request paths and for the paths of upstream URLs alike.
///
/// # Errors
/// [`Traversal`].
pub fn judge(path: &[u8]) -> Result<(), Traversal> {
    let mut layer = fold_overlong(Cow::Borrowed(path));
    judge_parts(&layer)?;
    for _ in 0..DECODINGS {
        if !layer.contains(&b'%') {
            break;
        }
        layer = fold_overlong(Cow::Owned(decode(&layer)));
        judge_parts(&layer)?;
    }
    Ok(())
}

/// Percent-decodes once (RFC 3986 §2.1), what is no escape stays. The library's decoder, which a test holds this one
/// against, goes byte by byte, and whoever has no mandate may ask for 16 KiB.
fn decode(path: &[u8]) -> Vec<u8> {
    let digit = |digit: u8| {
        char::from(digit)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    let mut out = Vec::with_capacity(path.len());
    let mut parts = path.split(|&byte| byte == b'%');
    out.extend_from_slice(parts.next().unwrap_or_default());
    for part in parts {
        let escape = match part {
            [high, low, rest @ ..] => digit(*high).zip(digit(*low)).map(|digits| (digits, rest)),
            _ => None,
        };
        match escape {
            Some(((high, low), rest)) => {
                out.push(high << 4 | low);
                out.extend_from_slice(rest);
            }
            None => {
                out.push(b'%');
                out.extend_from_slice(part);
            }
        }
    }
    out
}

fn judge_parts(path: &[u8]) -> Result<(), Traversal> {
    let has_forbidden = scan::any(path, |byte| (byte == b'\\') | (byte < 0x20) | (byte == 0x7f));
    let leaves = |part: &[u8]| {
        matches!(
            part,
            [b'.'] | [b'.', b';', ..] | [b'.', b'.'] | [b'.', b'.', b';', ..]
        )
    };
    if has_forbidden || path.split(|&byte| byte == b'/').any(leaves) {
        Err(Traversal)
    } else {
        Ok(())
    }
}

const OVERLONG_LEADS: [u8; 6] = [0xc0, 0xc1, 0xe0, 0xf0, 0xf8, 0xfc];

/// Reads overlong UTF-8 spellings of ASCII as the ASCII they spell (RFC 3629 §3 forbids them,
/// lenient decoders accept them, of up to six bytes as in RFC 2279).
fn fold_overlong(path: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    let is_lead = |byte| {
        OVERLONG_LEADS
            .into_iter()
            .fold(false, |any, lead| any | (byte == lead))
    };
    if !scan::any(&path, is_lead) {
        return path;
    }
    let mut out = Vec::with_capacity(path.len());
    let mut rest = &*path;
    loop {
        let (byte, after) = match rest {
            [] => return Cow::Owned(out),
            [lead @ 0xc0..=0xc1, last @ 0x80..=0xbf, after @ ..] => ((lead & 1) << 6 | (last & 0x3f), after),
            [0xe0, mid @ 0x80..=0x81, last @ 0x80..=0xbf, after @ ..] => {
                ((mid & 1) << 6 | (last & 0x3f), after)
            }
            [0xf0, 0x80, mid @ 0x80..=0x81, last @ 0x80..=0xbf, after @ ..]
            | [
                0xf8,
                0x80,
                0x80,
                mid @ 0x80..=0x81,
                last @ 0x80..=0xbf,
                after @ ..,
            ]
            | [
                0xfc,
                0x80,
                0x80,
                0x80,
                mid @ 0x80..=0x81,
                last @ 0x80..=0xbf,
                after @ ..,
            ] => ((mid & 1) << 6 | (last & 0x3f), after),
            [first, after @ ..] => (*first, after),
        };
        out.push(byte);
        rest = after;
    }
}

#[cfg(test)]
mod tests;
