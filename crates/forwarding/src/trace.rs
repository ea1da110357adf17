//! W3C Trace Context: one valid `traceparent` passes, with its `tracestate`; anything else is replaced by a new trace.

use data_encoding::HEXLOWER;
use http::HeaderMap;
use http::header::HeaderValue;

use crate::reserved::{TRACEPARENT, TRACESTATE};

/// `00-` trace id `-` parent id `-` flags.
const LENGTH: usize = 55;

/// The identity of a new trace, used only when the caller brought none.
#[derive(Debug, Clone, Copy)]
pub struct FreshTrace {
    trace_id: [u8; 16],
    parent_id: [u8; 8],
}

impl FreshTrace {
    /// Makes an identity from random bytes. An id of zeros means "no trace" and is turned into the next valid one.
    #[must_use]
    pub fn from_random(trace_id: [u8; 16], parent_id: [u8; 8]) -> Self {
        Self {
            trace_id: u128::from_be_bytes(trace_id).max(1).to_be_bytes(),
            parent_id: u64::from_be_bytes(parent_id).max(1).to_be_bytes(),
        }
    }

    fn header(self) -> Option<HeaderValue> {
        let mut text = String::with_capacity(LENGTH);
        text.push_str("00-");
        HEXLOWER.encode_append(&self.trace_id, &mut text);
        text.push('-');
        HEXLOWER.encode_append(&self.parent_id, &mut text);
        text.push_str("-01");
        HeaderValue::try_from(text).ok()
    }
}

/// Keeps the caller's trace context when it is one valid `traceparent`; otherwise starts a trace of its own and drops
/// `tracestate`, which belongs to the `traceparent` it came with.
pub(crate) fn settle(headers: &mut HeaderMap, fresh: FreshTrace) {
    let mut lines = headers.get_all(&TRACEPARENT).iter();
    if let (Some(line), None) = (lines.next(), lines.next())
        && is_valid(line.as_bytes())
    {
        return;
    }
    headers.remove(&TRACESTATE);
    match fresh.header() {
        Some(value) => drop(headers.insert(&TRACEPARENT, value)),
        None => drop(headers.remove(&TRACEPARENT)),
    }
}

/// The trace id of a head that was settled.
pub(crate) fn trace_id(headers: &HeaderMap) -> Option<&str> {
    headers.get(&TRACEPARENT)?.to_str().ok()?.get(3..35)
}

/// W3C Trace Context §3.2.2: lower-case hex, version `ff` and ids of zeros invalid, version `00` exactly 55 bytes long,
/// later versions may continue after a further `-`.
fn is_valid(text: &[u8]) -> bool {
    let Some((head, rest)) = text.split_at_checked(LENGTH) else {
        return false;
    };
    let mut fields = head.split(|&byte| byte == b'-');
    let [version, trace, parent, flags] = [(); 4].map(|()| fields.next().unwrap_or_default());
    let continues = rest.is_empty() || (version != b"00" && rest.starts_with(b"-"));
    fields.next().is_none()
        && continues
        && version != b"ff"
        && is_hex(version, 2)
        && is_hex(trace, 32)
        && is_hex(parent, 16)
        && is_hex(flags, 2)
        && trace.iter().any(|&digit| digit != b'0')
        && parent.iter().any(|&digit| digit != b'0')
}

fn is_hex(field: &[u8], length: usize) -> bool {
    field.len() == length && field.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const FRESH: &str = "00-0102030405060708090a0b0c0d0e0fff-00000000000000ab-01";

    fn settled(parents: &[&str]) -> (Vec<String>, bool) {
        let fresh = FreshTrace::from_random(
            [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 255],
            [0, 0, 0, 0, 0, 0, 0, 0xab],
        );
        let mut headers = HeaderMap::new();
        for parent in parents {
            headers.append(&TRACEPARENT, HeaderValue::from_str(parent).unwrap());
        }
        headers.insert(&TRACESTATE, HeaderValue::from_static("vendor=1"));
        settle(&mut headers, fresh);
        let lines = headers
            .get_all(&TRACEPARENT)
            .iter()
            .map(|v| v.to_str().unwrap().to_owned())
            .collect();
        (lines, headers.contains_key(&TRACESTATE))
    }

    #[test]
    fn traceparent_that_is_valid_is_kept_with_its_tracestate() {
        for text in [
            VALID,
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
            "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what-ever",
        ] {
            assert_eq!(settled(&[text]), (vec![text.to_owned()], true));
        }
    }

    #[test]
    fn traceparent_that_is_invalid_is_replaced_and_tracestate_dropped() {
        for text in [
            "",
            "00",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0g",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
            "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01x",
            "00-0af7651916cd43dd8448eb211c80319cb-7ad6b7169203331-01",
            "0-00af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331--1",
        ] {
            assert_eq!(settled(&[text]), (vec![FRESH.to_owned()], false), "{text}");
        }
    }

    #[test]
    fn traceparent_that_is_missing_or_doubled_is_replaced() {
        assert_eq!(settled(&[]), (vec![FRESH.to_owned()], false));
        assert_eq!(settled(&[VALID, VALID]), (vec![FRESH.to_owned()], false));
    }

    #[test]
    fn trace_id_is_that_of_the_head() {
        let mut headers = HeaderMap::new();
        assert_eq!(trace_id(&headers), None);
        headers.insert(&TRACEPARENT, HeaderValue::from_static(VALID));
        assert_eq!(trace_id(&headers), Some("0af7651916cd43dd8448eb211c80319c"));
    }

    #[test]
    fn a_fresh_trace_is_valid_even_from_zeros() {
        let value = FreshTrace::from_random([0; 16], [0; 8]).header().unwrap();
        assert!(is_valid(value.as_bytes()));
    }
}
