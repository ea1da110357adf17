//! How a value is spelled: Go's durations and booleans, positive integers, comma separated lists.
//!
//! Existing installations set these variables for a Go program, so its grammar is kept to the letter.

use std::num::NonZeroU64;

mod duration;

pub(crate) use duration::nanoseconds;

/// Go's `strconv.ParseBool` set.
pub(crate) fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// A decimal integer greater than zero that fits Go's `int64`.
pub(crate) fn positive(text: &str) -> Option<NonZeroU64> {
    let value = text.parse::<i64>().ok()?;
    NonZeroU64::new(u64::try_from(value).ok()?)
}

/// A comma separated list: entries trimmed, lower-cased, empty ones dropped.
pub(crate) fn list(text: &str) -> impl Iterator<Item = String> {
    text.split(',')
        .map(str::trim)
        .filter(|entry| !entry.is_empty())
        .map(str::to_lowercase)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn booleans_are_exactly_the_set_of_the_vectors() {
        let vectors: Value =
            serde_json::from_str(include_str!("../../../testkit/vectors/booleans.json")).unwrap();
        for (name, expect) in [("true", Some(true)), ("false", Some(false)), ("refused", None)] {
            let inputs = vectors[name].as_array().unwrap();
            assert!(!inputs.is_empty());
            for input in inputs {
                assert_eq!(boolean(input.as_str().unwrap()), expect, "{input}");
            }
        }
    }

    #[test]
    fn integers_are_positive_and_fit_63_bits() {
        for (text, expect) in [
            ("1", Some(1)),
            ("10485760", Some(10_485_760)),
            ("9223372036854775807", Some(i64::MAX.unsigned_abs())),
            ("9223372036854775808", None),
            ("0", None),
            ("-1", None),
            ("", None),
            (" 1", None),
            ("1.0", None),
            ("10MB", None),
            ("0x10", None),
        ] {
            assert_eq!(positive(text).map(NonZeroU64::get), expect, "{text:?}");
        }
    }

    #[test]
    fn lists_are_trimmed_lower_cased_and_without_empties() {
        let entries: Vec<String> = list(" A.example ,,b.example,\t, C ").collect();
        assert_eq!(entries, ["a.example", "b.example", "c"]);
        assert_eq!(list("").count(), 0);
    }
}
