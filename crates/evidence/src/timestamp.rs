//! Unix microseconds as RFC 3339 text.

use std::num::NonZero;

use time::OffsetDateTime;
use time::format_description::well_known::Iso8601;
use time::format_description::well_known::iso8601::{Config, EncodedConfig, TimePrecision};

/// Microseconds in a second.
pub(crate) const SECOND: i64 = 1_000_000;
/// 9999-12-31T23:59:59.999999Z, the last instant that RFC 3339 can spell.
const LAST: i64 = 253_402_300_799_999_999;
/// Of ISO 8601 the spelling that RFC 3339 permits too; the library's own RFC 3339 drops trailing zeros.
const FORMAT: EncodedConfig = Config::DEFAULT
    .set_time_precision(TimePrecision::Second {
        decimal_digits: NonZero::new(6),
    })
    .encode();

/// The bytes of an instant as text.
pub(crate) const LENGTH: usize = 27;

/// Appends an instant as `YYYY-MM-DDThh:mm:ss.ffffffZ`. Instants before 1970 or after 9999 are moved to the
/// nearer end, so that the text always has 27 bytes.
pub(crate) fn write_rfc3339(out: &mut Vec<u8>, micros: i64) {
    let nanos = i128::from(micros.clamp(0, LAST)) * 1_000;
    let instant = OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    // Every instant has all parts of the format, and writing to a buffer in memory cannot fail.
    let _ = instant.format_into(out, &Iso8601::<FORMAT>);
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
