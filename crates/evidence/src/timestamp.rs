//! Unix microseconds as RFC 3339 text.

/// Microseconds in a second.
pub(crate) const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400;
/// 9999-12-31T23:59:59.999999Z, the last instant that RFC 3339 can spell.
const LAST: i64 = 253_402_300_799_999_999;

/// Appends an instant as `YYYY-MM-DDThh:mm:ss.ffffffZ`. Instants before 1970 or after 9999 are moved to the
/// nearer end, so that the text always has 27 bytes.
pub(crate) fn write_rfc3339(out: &mut Vec<u8>, micros: i64) {
    let micros = micros.clamp(0, LAST);
    let seconds = micros / SECOND;
    let (year, month, day) = civil(seconds / DAY);
    let of_day = seconds % DAY;
    digits(out, year, 4);
    out.push(b'-');
    digits(out, month, 2);
    out.push(b'-');
    digits(out, day, 2);
    out.push(b'T');
    digits(out, of_day / 3600, 2);
    out.push(b':');
    digits(out, of_day / 60 % 60, 2);
    out.push(b':');
    digits(out, of_day % 60, 2);
    out.push(b'.');
    digits(out, micros % SECOND, 6);
    out.push(b'Z');
}

/// The date of a day counted from 1970-01-01. Years are taken to start in March, so that the leap day is the
/// last one, and are grouped in eras of 400, which all have 146 097 days.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

fn digits(out: &mut Vec<u8>, value: i64, width: u32) {
    for place in (0..width).rev() {
        let digit = value / 10_i64.pow(place) % 10;
        out.push(b'0' + u8::try_from(digit).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::write_rfc3339;

    #[test]
    fn instants_are_spelled_as_rfc_3339() {
        for (micros, text) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (1_790_000_000_123_456, "2026-09-21T14:13:20.123456Z"),
            (951_782_400_000_001, "2000-02-29T00:00:00.000001Z"),
            (951_868_799_999_999, "2000-02-29T23:59:59.999999Z"),
            (1_709_164_800_000_000, "2024-02-29T00:00:00.000000Z"),
            (1_735_689_599_000_000, "2024-12-31T23:59:59.000000Z"),
            (4_107_542_400_000_000, "2100-03-01T00:00:00.000000Z"),
            (i64::MAX, "9999-12-31T23:59:59.999999Z"),
            (-1, "1970-01-01T00:00:00.000000Z"),
        ] {
            let mut out = Vec::new();
            write_rfc3339(&mut out, micros);
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
    }
}
