//! Signing keys, JWKS documents and good mandates.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    KeyPair,
};
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// A zone's signing key: P-256, with a key id.
pub struct Key {
    kid: String,
    pair: EcdsaKeyPair,
}

impl Key {
    /// A new key under this id.
    pub fn generate(kid: &str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a new key");
        Self {
            kid: kid.to_owned(),
            pair,
        }
    }

    /// Its id.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The public key as an uncompressed point: `04`, x, y; 65 bytes.
    pub fn public_point(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    /// The public key as a JWK (RFC 7517), with the members that an STS publishes.
    pub fn jwk(&self) -> Value {
        let point = self.public_point();
        json!({
            "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.kid,
            "x": base64url(&point[1..33]), "y": base64url(&point[33..65]),
        })
    }

    /// The private key, PKCS #8 in DER.
    pub fn pkcs8(&self) -> Vec<u8> {
        self.pair.to_pkcs8v1().expect("an exported key").as_ref().to_vec()
    }

    /// An ES256 signature: r and s, 64 bytes (RFC 7518 §3.4).
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        sign_with(&self.pair, message)
    }

    /// The same kind of signature in DER, as certificates have it and JWS does not.
    pub(super) fn sign_der(&self, message: &[u8]) -> Vec<u8> {
        let algorithm: &'static EcdsaSigningAlgorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, &self.pkcs8()).expect("an exported key");
        sign_with(&pair, message)
    }
}

fn sign_with(pair: &EcdsaKeyPair, message: &[u8]) -> Vec<u8> {
    pair.sign(&SystemRandom::new(), message)
        .expect("a signature")
        .as_ref()
        .to_vec()
}

/// A JWKS document (RFC 7517 §5) with these keys.
pub fn jwks<'a>(keys: impl IntoIterator<Item = &'a Key>) -> Value {
    json!({ "keys": keys.into_iter().map(Key::jwk).collect::<Vec<_>>() })
}

/// The claims and header of a mandate before it is signed. Everything can be replaced or left out.
#[derive(Clone, Debug)]
pub struct Mandate {
    /// The JOSE header without `kid`, which signing adds unless it is there.
    pub header: Map<String, Value>,
    /// The claims.
    pub claims: Map<String, Value>,
}

impl Mandate {
    /// A mandate for one request (`use` is `gateway`), valid for 15 minutes from `now` (seconds since the Unix epoch),
    /// with fresh ids.
    pub fn single_use(zone: &str, now: u64) -> Self {
        let id = || Uuid::now_v7().to_string();
        let sid = id();
        let Value::Object(claims) = json!({
            "iss": "https://sts.example", "aud": ["https://sts.example"], "sub": "app-1", "sub_type": "application",
            "iat": now, "exp": now + 900, "jti": id(), "zone_id": zone, "client_id": "app-1", "scope": "call",
            "sid": sid, "root_sid": sid, "use": "gateway", "agent_session_id": id(), "delegation_edge_id": id(),
        }) else {
            unreachable!("the literal is an object")
        };
        let header = [
            ("alg".to_owned(), json!("ES256")),
            ("typ".to_owned(), json!("JWT")),
        ]
        .into_iter()
        .collect();
        Self { header, claims }
    }

    /// A mandate for many requests (`use` is `session`).
    pub fn session(zone: &str, now: u64) -> Self {
        Self::single_use(zone, now).claim("use", "session")
    }

    /// Sets a claim.
    #[must_use]
    pub fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.claims.insert(name.to_owned(), value.into());
        self
    }

    /// Leaves a claim out.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.claims.remove(name);
        self
    }

    /// Sets a header parameter.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.header.insert(name.to_owned(), value.into());
        self
    }

    /// A claim's text.
    ///
    /// # Panics
    /// When there is no such claim or it is no string.
    pub fn text(&self, name: &str) -> &str {
        self.claims
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_else(|| panic!("no claim {name} with a text"))
    }

    /// The mandate as a compact JWS (RFC 7515 §3.1), signed with ES256 whatever the header says.
    pub fn sign(&self, key: &Key) -> String {
        seal(&self.header_json(key), &self.claims_json(), key)
    }

    pub(super) fn header_json(&self, key: &Key) -> String {
        let mut header = self.header.clone();
        header.entry("kid").or_insert_with(|| json!(key.kid));
        Value::Object(header).to_string()
    }

    pub(super) fn claims_json(&self) -> String {
        Value::Object(self.claims.clone()).to_string()
    }
}

/// Signs a header and claims given as text, for what no JSON value can express.
pub fn seal(header: &str, claims: &str, key: &Key) -> String {
    let input = signing_input(header, claims);
    let signature = base64url(&key.sign(input.as_bytes()));
    format!("{input}.{signature}")
}

pub(super) fn signing_input(header: &str, claims: &str) -> String {
    format!(
        "{}.{}",
        base64url(header.as_bytes()),
        base64url(claims.as_bytes())
    )
}

/// base64url without padding (RFC 4648 §5).
pub fn base64url(bytes: &[u8]) -> String {
    BASE64URL_NOPAD.encode(bytes)
}
