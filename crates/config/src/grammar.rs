//! How a value is spelled: Go's durations and booleans, positive integers, comma separated lists.
//!
//! Existing installations set these variables for a Go program, so its grammar is kept to the letter.

use std::num::NonZeroU64;

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

/// A duration in Go's grammar, `[+-]? ( number unit )+ | [+-]? 0`, where a number may have a fraction: its value in
/// nanoseconds, negative ones included; `None` when the text is not a duration or
/// does not fit 63 bits of nanoseconds (about 292 years).
pub(crate) fn nanoseconds(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: i64 = 0;
    while !rest.is_empty() {
        let (part, after) = component(rest)?;
        // Downwards, where there is room for one nanosecond more.
        total = total.checked_sub_unsigned(part)?;
        rest = after;
    }
    if negative {
        Some(total)
    } else {
        total.checked_neg()
    }
}

/// One `number unit`, in nanoseconds, and the text after it.
fn component(text: &str) -> Option<(u64, &str)> {
    let (whole, text) = digits(text);
    let (fraction, text) = text.strip_prefix('.').map_or(("", text), digits);
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let end = text
        .find(|c: char| c == '.' || c.is_ascii_digit())
        .unwrap_or(text.len());
    let (name, text) = text.split_at(end);
    let unit = unit(name)?;
    // The zero stands for a whole that is not there.
    let whole: u64 = format!("0{whole}").parse().ok()?;
    let value = whole
        .checked_mul(unit)?
        .checked_add(fraction_of(fraction, unit))?;
    Some((value, text))
}

fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

/// `0.<fraction>` of `unit`, rounded towards zero. Digits that cannot weigh a nanosecond are ignored.
fn fraction_of(fraction: &str, unit: u64) -> u64 {
    let mut weight = u128::from(unit) * 1_000_000;
    let mut sum = 0u128;
    for digit in fraction.bytes() {
        weight /= 10;
        sum += weight * u128::from(digit - b'0');
    }
    u64::try_from(sum / 1_000_000).unwrap_or(u64::MAX)
}

fn unit(name: &str) -> Option<u64> {
    Some(match name {
        "ns" => 1,
        // Both characters that Unicode has for "micro".
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60 * 1_000_000_000,
        "h" => 3_600 * 1_000_000_000,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
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

    #[test]
    fn durations_of_the_vectors_are_accepted_and_refused() {
        let vectors: Value =
            serde_json::from_str(include_str!("../../../testkit/vectors/durations.json")).unwrap();
        let accepted = vectors["accepted_ns"].as_object().unwrap();
        let refused = vectors["refused"].as_array().unwrap();
        assert!(!accepted.is_empty() && !refused.is_empty());
        for (input, expect) in accepted {
            assert_eq!(nanoseconds(input), expect.as_i64(), "{input:?}");
        }
        for input in refused {
            assert_eq!(nanoseconds(input.as_str().unwrap()), None, "{input}");
        }
    }

    #[test]
    fn the_edges_of_63_bits_hold() {
        for (input, expect) in [
            ("-9223372036854775808ns", Some(i64::MIN)),
            ("-9223372036854775809ns", None),
            ("9223372036854775807ns1ns", None),
            ("99999999999999999999s", None),
            ("0.3333333333333333333h", Some(1_199_999_999_999)),
            ("0.100000000000000000000h", Some(360_000_000_000)),
            ("-", None),
            ("+0", Some(0)),
            ("-.s", None),
            ("1s.", None),
        ] {
            assert_eq!(nanoseconds(input), expect, "{input:?}");
        }
    }

    proptest! {
        #[test]
        fn no_input_panics(text in "\\PC*") {
            let _ = nanoseconds(&text);
        }

        #[test]
        fn whole_nanoseconds_read_back(value in any::<i64>()) {
            prop_assert_eq!(nanoseconds(&format!("{value}ns")), Some(value));
        }
    }
}
