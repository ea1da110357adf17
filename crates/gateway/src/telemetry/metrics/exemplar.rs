//! The trace behind one observation.

use std::fmt;

use prometheus_client::encoding::{EncodeLabel, EncodeLabelSet, LabelSetEncoder};

/// A trace id (W3C Trace Context §3.2.2.3): 32 lower-case hexadecimal digits.
#[derive(Clone, Copy, Debug)]
pub(super) struct TraceId([u8; 32]);

impl TraceId {
    /// `None` for anything but a trace id, so that no other text can become a label.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let digits: [u8; 32] = text.as_bytes().try_into().ok()?;
        let hex = |digit: &u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
        digits.iter().all(hex).then_some(Self(digits))
    }
}

impl EncodeLabelSet for TraceId {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        let text = std::str::from_utf8(&self.0).map_err(|_| fmt::Error)?;
        EncodeLabel::encode(&("trace_id", text), encoder.encode_label())
    }
}
