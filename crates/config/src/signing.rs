//! The three keys that messages are signed with.

use admission::mode::Mode;

use crate::keys::Key;
use crate::keys::backends::STREAMS_HMAC_KEY;
use crate::keys::gates::GATEWAY_STS_HMAC_KEY;
use crate::keys::operation::AUDIT_HMAC_KEY;
use crate::reader::{Read, Reader};
use crate::secret::HmacKey;
use crate::violation::Violation;
use crate::warning::Warning;

/// One key for each purpose. In production none is shorter than [`HmacKey::MIN_BYTES`].
#[derive(Clone, Debug)]
pub struct SigningKeys {
    /// Stream messages (`STREAMS_HMAC_KEY`).
    pub streams: HmacKey,
    /// Audit events (`AUDIT_HMAC_KEY`).
    pub audit: HmacKey,
    /// Exchanges with the STS (`GATEWAY_STS_HMAC_KEY`).
    pub exchange: HmacKey,
}

impl SigningKeys {
    pub(crate) fn read(reader: &mut Reader<'_>, mode: Read<Mode>) -> Read<Self> {
        let streams = Self::read_streams(reader, mode);
        let audit = read(reader, mode, &AUDIT_HMAC_KEY, "the audit service");
        let exchange = read(reader, mode, &GATEWAY_STS_HMAC_KEY, "the STS");
        Ok(Self {
            streams: streams?,
            audit: audit?,
            exchange: exchange?,
        })
    }

    /// The key of audit events alone, where it is set: it only verifies.
    pub(crate) fn read_audit(reader: &mut Reader<'_>) -> Read<Option<HmacKey>> {
        let Some(text) = reader.secret(&AUDIT_HMAC_KEY)? else {
            return Ok(None);
        };
        let key = HmacKey::from_hex(&text).filter(|key| key.as_bytes().len() >= HmacKey::MIN_BYTES);
        reader
            .judge(key.ok_or(Violation::WeakKey(AUDIT_HMAC_KEY.name)))
            .map(Some)
    }

    pub(crate) fn read_streams(reader: &mut Reader<'_>, mode: Read<Mode>) -> Read<HmacKey> {
        read(reader, mode, &STREAMS_HMAC_KEY, "all publishers of the streams")
    }
}

/// A key is hexadecimal in every mode; production also demands its length.
fn read(reader: &mut Reader<'_>, mode: Read<Mode>, key: &Key, sharers: &str) -> Read<HmacKey> {
    let text = reader.secret(key)?;
    let fix = format!(
        "set it, or {}_FILE, to the 32-byte hex secret shared with {sharers}",
        key.name
    );
    let text = reader.present(key, text, &fix)?;
    let name = key.name;
    let key = reader.judge(HmacKey::from_hex(&text).ok_or(Violation::WeakKey(name)))?;
    match mode {
        _ if key.as_bytes().len() >= HmacKey::MIN_BYTES => {}
        Ok(Mode::Dev(_)) => reader.warn(Warning::ShortKey(name)),
        Ok(Mode::Production) | Err(_) => return Err(reader.report(Violation::WeakKey(name))),
    }
    Ok(key)
}
