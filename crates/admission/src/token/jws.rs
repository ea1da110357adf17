//! Gate 6, first half: the compact JWS (RFC 7515 §3.1, §7.1) and its protected header.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::{Deserialize, Deserializer, IgnoredAny};

/// The token is not a mandate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Buffers into which a token is decoded, so that its claims can be borrowed.
#[derive(Default)]
pub struct Scratch {
    header: Vec<u8>,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

/// The parts of a token that its verification needs.
pub(super) struct Jws<'r> {
    /// `BASE64URL(header) "." BASE64URL(payload)`: what was signed (RFC 7515 §5.2).
    pub(super) signing_input: &'r [u8],
    /// The signature, of whatever length: gate 9 judges it.
    pub(super) signature: &'r [u8],
    /// The key's name.
    pub(super) kid: Cow<'r, str>,
}

/// The members of the protected header that are understood. Keys that the token brings along
/// (`jwk`, `jku`, `x5u`, `x5c`) are ignored: keys come from the zone's JWKS alone.
#[derive(serde::Deserialize)]
struct Header<'a> {
    #[serde(borrow)]
    alg: Cow<'a, str>,
    #[serde(borrow)]
    kid: Cow<'a, str>,
    /// Extensions that must be understood: none is (RFC 7515 §4.1.11).
    #[serde(default)]
    crit: Presence,
    /// Detached or unencoded payloads (RFC 7797) are not mandates.
    #[serde(default)]
    b64: Presence,
}

/// Whether a member is there, whatever its value, `null` included.
#[derive(Default, PartialEq, Eq)]
enum Presence {
    #[default]
    Absent,
    Present,
}

impl<'de> Deserialize<'de> for Presence {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self::Present)
    }
}

/// Splits and decodes a token. Base64url must be canonical: no padding, no stray bits, so that
/// one mandate has one spelling; a fourth part would make a dot of the payload, which is none of
/// its letters.
pub(super) fn parse<'r>(token: &'r str, scratch: &'r mut Scratch) -> Result<(Jws<'r>, &'r [u8]), Malformed> {
    let (signing_input, signature) = token.rsplit_once('.').ok_or(Malformed)?;
    let (header, payload) = signing_input.split_once('.').ok_or(Malformed)?;
    decode(header, &mut scratch.header)?;
    decode(payload, &mut scratch.payload)?;
    decode(signature, &mut scratch.signature)?;
    let Scratch {
        header,
        payload,
        signature,
    } = &*scratch;
    // As text, because members that are skipped are not checked to be UTF-8 (RFC 7515 §4).
    let header = std::str::from_utf8(header).map_err(|_| Malformed)?;
    // A JSON array would fill the members by position.
    if !header.trim_ascii_start().starts_with('{') {
        return Err(Malformed);
    }
    let header: Header<'r> = serde_json::from_str(header).map_err(|_| Malformed)?;
    let understood = header.alg == "ES256"
        && !header.kid.is_empty()
        && header.crit == Presence::Absent
        && header.b64 == Presence::Absent;
    if !understood {
        return Err(Malformed);
    }
    let jws = Jws {
        signing_input: signing_input.as_bytes(),
        signature,
        kid: header.kid,
    };
    Ok((jws, payload))
}

fn decode(part: &str, into: &mut Vec<u8>) -> Result<(), Malformed> {
    into.clear();
    URL_SAFE_NO_PAD.decode_vec(part, into).map_err(|_| Malformed)
}
