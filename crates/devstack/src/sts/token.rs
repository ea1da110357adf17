//! Compact JWS (RFC 7515 §7.1), ES256 alone.

use data_encoding::BASE64URL_NOPAD;
use serde::Deserialize;

use super::claims::Claims;
use super::keys::SigningKey;
use super::zone::Zone;
use crate::Error;

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: String,
}

/// Signs a payload under an encoded header.
pub(super) fn sign(key: &SigningKey, header: &str, payload: &[u8]) -> Result<String, Error> {
    let mut token = String::with_capacity(header.len() + payload.len() * 4 / 3 + 96);
    token.push_str(header);
    token.push('.');
    BASE64URL_NOPAD.encode_append(payload, &mut token);
    let signature = key.sign(token.as_bytes())?;
    token.push('.');
    BASE64URL_NOPAD.encode_append(signature.as_ref(), &mut token);
    Ok(token)
}

/// Signs claims with their zone's newest key.
pub(super) fn issue(zone: &Zone, claims: &Claims) -> Result<String, Error> {
    let key = zone.signing_key();
    sign(&key, &key.header, &serde_json::to_vec(claims)?)
}

/// The claims of a token that one of the zone's published keys signed.
pub(super) fn open(zone: &Zone, token: &str, now: u64) -> Option<Claims> {
    let (signed, signature) = token.rsplit_once('.')?;
    let (header, payload) = signed.split_once('.')?;
    let decode = |part: &str| BASE64URL_NOPAD.decode(part.as_bytes()).ok();
    let header: Header = serde_json::from_slice(&decode(header)?).ok()?;
    if header.alg != "ES256" {
        return None;
    }
    let key = zone.verifying_key(&header.kid, now)?;
    if !key.verifies(signed.as_bytes(), &decode(signature)?) {
        return None;
    }
    serde_json::from_slice(&decode(payload)?).ok()
}
