//! Go's duration grammar: `[+-]? ( number unit )+ | [+-]? 0`, where a number may have a fraction.

/// The value in nanoseconds, negative ones included; `None` when the text is not a duration or
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
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (part, after) = component(rest)?;
        total = total.checked_add(part).filter(|&sum| sum <= 1 << 63)?;
        rest = after;
    }
    if negative {
        0i64.checked_sub_unsigned(total)
    } else {
        i64::try_from(total).ok()
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
    let whole = if whole.is_empty() {
        0
    } else {
        whole.parse::<u64>().ok()?
    };
    let value = whole
        .checked_mul(unit)?
        .checked_add(fraction_of(fraction, unit))?;
    (value <= 1 << 63).then_some((value, text))
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
    fn the_vectors_are_accepted_and_refused() {
        let vectors: Value =
            serde_json::from_str(include_str!("../../../../testkit/vectors/durations.json")).unwrap();
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
