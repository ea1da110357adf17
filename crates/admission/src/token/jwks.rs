//! A zone's key set (RFC 7517), parsed for the store of [`crate::ports::SigningKeys`].

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::key::VerifyingKey;

/// Most keys that are kept of one document; a zone publishes one or two.
const MAX_KEYS: usize = 16;

/// Why a document is no key set. The keys that are already there stay in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwksError {
    /// Not a JSON object with an array `keys`.
    #[error("JWKS document is not a JSON key set")]
    Malformed,
    /// The same `kid` twice.
    #[error("JWKS document names a kid twice")]
    DuplicateKid,
    /// No usable ES256 key in it.
    #[error("JWKS document holds no usable ES256 key")]
    NoUsableKey,
    /// More usable keys than are kept.
    #[error("JWKS document holds more than 16 keys")]
    TooMany,
}

#[derive(serde::Deserialize)]
struct Document {
    keys: Vec<serde_json::Value>,
}

#[derive(serde::Deserialize)]
struct Jwk {
    kty: String,
    crv: String,
    alg: String,
    kid: String,
    x: String,
    y: String,
    #[serde(default, rename = "use")]
    use_class: Option<String>,
    #[serde(default)]
    key_ops: Option<Vec<String>>,
    /// A private key in a public document: whoever published it cannot be trusted with it.
    #[serde(default)]
    d: Option<serde::de::IgnoredAny>,
}

/// Parses a document, whose length is that of an answer of the STS. Keys of other kinds are skipped.
///
/// # Errors
/// [`JwksError`]; a document without a single usable key is an error.
pub fn parse(document: &[u8]) -> Result<HashMap<String, Arc<VerifyingKey>>, JwksError> {
    // A JSON array would fill the members by position, here and in each key.
    if !document.trim_ascii_start().starts_with(b"{") {
        return Err(JwksError::Malformed);
    }
    let document: Document = serde_json::from_slice(document).map_err(|_| JwksError::Malformed)?;
    let mut keys = HashMap::new();
    for jwk in document
        .keys
        .into_iter()
        .filter(serde_json::Value::is_object)
        .filter_map(|value| serde_json::from_value::<Jwk>(value).ok())
    {
        let Some(key) = usable(&jwk) else { continue };
        if keys.len() == MAX_KEYS {
            return Err(JwksError::TooMany);
        }
        if keys.insert(jwk.kid, Arc::new(key)).is_some() {
            return Err(JwksError::DuplicateKid);
        }
    }
    if keys.is_empty() {
        Err(JwksError::NoUsableKey)
    } else {
        Ok(keys)
    }
}

fn usable(jwk: &Jwk) -> Option<VerifyingKey> {
    let for_signatures = jwk
        .use_class
        .as_deref()
        .is_none_or(|class| class.is_empty() || class == "sig");
    let verifies = jwk
        .key_ops
        .as_ref()
        .is_none_or(|ops| ops.is_empty() || ops.iter().any(|op| op == "verify"));
    let es256 = jwk.kty == "EC" && jwk.crv == "P-256" && jwk.alg == "ES256" && !jwk.kid.is_empty();
    if !(es256 && for_signatures && verifies && jwk.d.is_none()) {
        return None;
    }
    VerifyingKey::new(&coordinate(&jwk.x)?, &coordinate(&jwk.y)?).ok()
}

fn coordinate(text: &str) -> Option<[u8; 32]> {
    URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const X: &str = "axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY";
    const Y: &str = "T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU";

    fn key(extra: &str) -> String {
        format!(r#"{{"kty":"EC","crv":"P-256","alg":"ES256","kid":"k","x":"{X}","y":"{Y}"{extra}}}"#)
    }

    fn parse_keys(keys: &str) -> Result<usize, JwksError> {
        parse(format!(r#"{{"keys":[{keys}]}}"#).as_bytes()).map(|keys| keys.len())
    }

    #[test]
    fn jwks_usable_keys_are_taken_and_others_skipped() {
        assert_eq!(parse_keys(&key("")), Ok(1));
        assert_eq!(parse_keys(&key(r#","use":"sig","key_ops":["verify"]"#)), Ok(1));
        assert_eq!(parse_keys(&format!(r#"{},{{"kty":"RSA"}},7"#, key(""))), Ok(1));
        for extra in [r#","use":"enc""#, r#","key_ops":["sign"]"#, r#","d":"AA""#] {
            assert_eq!(parse_keys(&key(extra)), Err(JwksError::NoUsableKey), "{extra}");
        }
        for (from, to) in [
            ("P-256", "P-384"),
            ("ES256", "ES384"),
            ("\"k\"", "\"\""),
            ("axfR", "axfS"),
            ("UfU", "Uf"),
        ] {
            assert_eq!(
                parse_keys(&key("").replace(from, to)),
                Err(JwksError::NoUsableKey),
                "{to}"
            );
        }
    }

    #[test]
    fn jwks_documents_that_are_not_key_sets_are_errors() {
        assert_eq!(
            parse_keys(&format!("{},{}", key(""), key(""))),
            Err(JwksError::DuplicateKid)
        );
        let positional = format!(r#"["EC","P-256","ES256","k","{X}","{Y}",null,null,null]"#);
        assert_eq!(parse_keys(&positional), Err(JwksError::NoUsableKey));
        assert_eq!(parse_keys(""), Err(JwksError::NoUsableKey));
        let many = |count: usize| {
            let keys = (0..count).map(|n| key("").replace("\"k\"", &format!("\"k{n}\"")));
            parse_keys(&keys.collect::<Vec<_>>().join(","))
        };
        assert_eq!(many(MAX_KEYS), Ok(MAX_KEYS));
        assert_eq!(many(MAX_KEYS + 1), Err(JwksError::TooMany));
        let positional = format!("[[{}]]", key(""));
        for document in ["", "<html>", "[]", "{}", r#"{"keys":{}}"#, &positional] {
            assert!(
                matches!(parse(document.as_bytes()), Err(JwksError::Malformed)),
                "{document}"
            );
        }
    }
}
