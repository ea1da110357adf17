//! One meaning for the length of a message before it is framed anew (RFC 9112 §6).

use http::header::{CONTENT_LENGTH, HeaderValue, TRANSFER_ENCODING};
use http::{HeaderMap, Method};

/// The lines of `Content-Length` disagree or are no number, or there is a transfer coding besides `chunked`: nobody
/// undoes it here, and it would be gone from the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AmbiguousLength;

/// Leaves at most one valid `Content-Length`, and none beside `Transfer-Encoding`, which overrides it.
/// Says whether a length is left. Must run before `Transfer-Encoding` is removed.
pub(crate) fn settle_length(headers: &mut HeaderMap) -> Result<bool, AmbiguousLength> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    if let Some(coding) = codings.next() {
        let is_chunked = coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked");
        if !is_chunked || codings.next().is_some() {
            return Err(AmbiguousLength);
        }
        headers.remove(CONTENT_LENGTH);
        return Ok(false);
    }
    let mut lines = headers.get_all(CONTENT_LENGTH).iter();
    let Some(first) = lines.next() else {
        return Ok(false);
    };
    if lines.next().is_none() && parse(first.as_bytes()).is_some() {
        return Ok(true);
    }
    // Repetition of one value, over lines or in a list, may be read as that value (RFC 9110 §8.6).
    let mut values = headers
        .get_all(CONTENT_LENGTH)
        .iter()
        .flat_map(|line| line.as_bytes().split(|&byte| byte == b','))
        .map(|value| parse(value.trim_ascii()));
    let length = values.next().flatten().ok_or(AmbiguousLength)?;
    if values.any(|value| value != Some(length)) {
        return Err(AmbiguousLength);
    }
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    Ok(true)
}

/// States that nothing follows a head without a length, where the method has a meaning for a body (RFC 9110 §8.6): over
/// HTTP/1.1 servers may insist on a length there. Says whether it does.
pub(crate) fn state_no_length(method: &Method, headers: &mut HeaderMap) -> bool {
    let expects_body =
        matches!(*method, Method::POST | Method::PUT | Method::PATCH) || method.as_str() == "QUERY";
    if expects_body {
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    expects_body
}

fn parse(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |sum, digit| match digit {
        b'0'..=b'9' => sum.checked_mul(10)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(lengths: &[&'static str], chunked: bool, expect: Result<Option<&str>, AmbiguousLength>) {
        let mut headers = HeaderMap::new();
        for length in lengths {
            headers.append(CONTENT_LENGTH, HeaderValue::from_static(length));
        }
        if chunked {
            headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        let settled = settle_length(&mut headers);
        let left: Vec<_> = headers
            .get_all(CONTENT_LENGTH)
            .iter()
            .map(|v| v.to_str().unwrap())
            .collect();
        match expect {
            Err(error) => assert_eq!(settled, Err(error), "{lengths:?}"),
            Ok(expect) => {
                assert_eq!(settled, Ok(expect.is_some()), "{lengths:?}");
                assert_eq!(left, Vec::from_iter(expect), "{lengths:?}");
            }
        }
    }

    #[test]
    fn content_length_has_one_meaning() {
        check(&[], false, Ok(None));
        check(&["0"], false, Ok(Some("0")));
        check(&["18446744073709551615"], false, Ok(Some("18446744073709551615")));
        check(&["5", "5"], false, Ok(Some("5")));
        check(&["5, 5"], false, Ok(Some("5")));
    }

    #[test]
    fn content_length_that_disagrees_is_refused() {
        for lengths in [
            &["5", "6"][..],
            &["5, 6"],
            &["5", ""],
            &[""],
            &["+5"],
            &["-1"],
            &["0x5"],
            &["5 5"],
            &["18446744073709551616"],
        ] {
            check(lengths, false, Err(AmbiguousLength));
        }
    }

    #[test]
    fn transfer_coding_other_than_chunked_is_refused() {
        for (codings, is_plain) in [
            (&["chunked"][..], true),
            (&[" Chunked\t"], true),
            (&["gzip, chunked"], false),
            (&["gzip"], false),
            (&["chunked, chunked"], false),
            (&["chunked", "chunked"], false),
            (&[""], false),
        ] {
            let mut headers = HeaderMap::new();
            for coding in codings {
                headers.append(TRANSFER_ENCODING, HeaderValue::from_static(coding));
            }
            assert_eq!(settle_length(&mut headers).is_ok(), is_plain, "{codings:?}");
        }
    }

    #[test]
    fn content_length_beside_transfer_encoding_is_dropped() {
        check(&["5"], true, Ok(None));
        check(&["5", "6"], true, Ok(None));
    }
}
