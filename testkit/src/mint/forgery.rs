//! Every kind of broken mandate. Each has one fault and is otherwise good, signature included.

use super::mandate::{Key, Mandate, base64url, seal, signing_input};
use aws_lc_rs::hmac;
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};

/// Which check a forgery must fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breaks {
    /// It is no well-formed mandate; no key is looked up.
    Form,
    /// It is well formed, and its signature does not hold.
    Signature,
    /// Its signature has the wrong length, which either check may find.
    Either,
}

/// A kind of broken mandate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each name says what is wrong")]
pub enum Forgery {
    AlgNone,
    AlgNoneWithSignature,
    AlgHs256WithPublicKey,
    AlgEs384,
    AlgLowerCase,
    AlgMissing,
    KidMissing,
    KidEmpty,
    KidNumber,
    CriticalHeader,
    TwoParts,
    FourParts,
    FiveParts,
    TrailingDot,
    EmptyHeader,
    EmptyClaims,
    PaddedHeader,
    PaddedSignature,
    SpareBitsInSignature,
    StandardAlphabet,
    SpaceInside,
    HeaderNotJson,
    HeaderNotObject,
    ClaimsNotJson,
    ClaimsNotObject,
    ClaimsNotUtf8,
    ClaimsTrailingBytes,
    DuplicateHeader,
    DuplicateZone,
    DuplicateExpiry,
    DuplicateEscapedZone,
    ExpiryMissing,
    ExpiryText,
    ExpiryFraction,
    ExpiryInfinite,
    ExpiryNull,
    JtiMissing,
    JtiEmpty,
    JtiNumber,
    LifetimeOverADay,
    OtherKey,
    UnknownKid,
    TamperedClaims,
    TamperedHeader,
    SignatureOfZeros,
    RZero,
    SZero,
    RIsOrder,
    SIsOrder,
    DerSignature,
    SignatureTooShort,
    SignatureTooLong,
}

impl Forgery {
    /// Every kind.
    pub const ALL: [Self; 52] = [
        Self::AlgNone,
        Self::AlgNoneWithSignature,
        Self::AlgHs256WithPublicKey,
        Self::AlgEs384,
        Self::AlgLowerCase,
        Self::AlgMissing,
        Self::KidMissing,
        Self::KidEmpty,
        Self::KidNumber,
        Self::CriticalHeader,
        Self::TwoParts,
        Self::FourParts,
        Self::FiveParts,
        Self::TrailingDot,
        Self::EmptyHeader,
        Self::EmptyClaims,
        Self::PaddedHeader,
        Self::PaddedSignature,
        Self::SpareBitsInSignature,
        Self::StandardAlphabet,
        Self::SpaceInside,
        Self::HeaderNotJson,
        Self::HeaderNotObject,
        Self::ClaimsNotJson,
        Self::ClaimsNotObject,
        Self::ClaimsNotUtf8,
        Self::ClaimsTrailingBytes,
        Self::DuplicateHeader,
        Self::DuplicateZone,
        Self::DuplicateExpiry,
        Self::DuplicateEscapedZone,
        Self::ExpiryMissing,
        Self::ExpiryText,
        Self::ExpiryFraction,
        Self::ExpiryInfinite,
        Self::ExpiryNull,
        Self::JtiMissing,
        Self::JtiEmpty,
        Self::JtiNumber,
        Self::LifetimeOverADay,
        Self::OtherKey,
        Self::UnknownKid,
        Self::TamperedClaims,
        Self::TamperedHeader,
        Self::SignatureOfZeros,
        Self::RZero,
        Self::SZero,
        Self::RIsOrder,
        Self::SIsOrder,
        Self::DerSignature,
        Self::SignatureTooShort,
        Self::SignatureTooLong,
    ];

    /// Which check it must fail.
    pub fn breaks(self) -> Breaks {
        match self {
            Self::DerSignature | Self::SignatureTooShort | Self::SignatureTooLong => Breaks::Either,
            Self::OtherKey
            | Self::UnknownKid
            | Self::TamperedClaims
            | Self::TamperedHeader
            | Self::SignatureOfZeros
            | Self::RZero
            | Self::SZero
            | Self::RIsOrder
            | Self::SIsOrder => Breaks::Signature,
            _ => Breaks::Form,
        }
    }

    /// The broken mandate. `mandate` must be a good single-use one, minted for `key`.
    pub fn forge(self, mandate: &Mandate, key: &Key) -> String {
        let good = mandate.sign(key);
        let (header, claims) = (mandate.header_json(key), mandate.claims_json());
        let input = signing_input(&header, &claims);
        let with = |signature: &[u8]| format!("{input}.{}", base64url(signature));
        let signature = || key.sign(input.as_bytes());
        let relabelled = |name: &str, value: Value| mandate.clone().header(name, value).sign(key);
        let reclaimed = |name: &str, value: Value| mandate.clone().claim(name, value).sign(key);
        let prefixed = |first: &str| seal(&header, &format!("{{{first},{}", &claims[1..]), key);
        match self {
            Self::AlgNone => {
                let header = mandate.clone().header("alg", "none").header_json(key);
                format!("{}.", signing_input(&header, &claims))
            }
            Self::AlgNoneWithSignature => relabelled("alg", json!("none")),
            Self::AlgHs256WithPublicKey => {
                let header = mandate.clone().header("alg", "HS256").header_json(key);
                let input = signing_input(&header, &claims);
                let secret = hmac::Key::new(hmac::HMAC_SHA256, key.public_point());
                format!(
                    "{input}.{}",
                    base64url(hmac::sign(&secret, input.as_bytes()).as_ref())
                )
            }
            Self::AlgEs384 => relabelled("alg", json!("ES384")),
            Self::AlgLowerCase => relabelled("alg", json!("es256")),
            Self::AlgMissing => seal(
                &json!({ "typ": "JWT", "kid": key.kid() }).to_string(),
                &claims,
                key,
            ),
            Self::KidMissing => seal(r#"{"alg":"ES256","typ":"JWT"}"#, &claims, key),
            Self::KidEmpty => relabelled("kid", json!("")),
            Self::KidNumber => relabelled("kid", json!(1)),
            Self::CriticalHeader => mandate
                .clone()
                .header("crit", json!(["b64"]))
                .header("b64", true)
                .sign(key),
            Self::TwoParts => input.clone(),
            Self::FourParts => format!("{good}.e30"),
            Self::FiveParts => format!("{good}.e30.e30"),
            Self::TrailingDot => format!("{good}."),
            Self::EmptyHeader => seal("", &claims, key),
            Self::EmptyClaims => seal(&header, "", key),
            Self::PaddedHeader => good.replacen('.', "=.", 1),
            Self::PaddedSignature => format!("{good}=="),
            Self::SpareBitsInSignature => spare_bits(&good),
            Self::StandardAlphabet => {
                // The claim brings both letters that the two alphabets spell differently.
                let text = mandate.clone().claim("x", "~~~???~~~???").sign(key);
                assert!(text.contains(['-', '_']), "a letter to spell differently");
                text.replace('-', "+").replace('_', "/")
            }
            Self::SpaceInside => good.replacen('.', " .", 1),
            Self::HeaderNotJson => seal("{alg:ES256}", &claims, key),
            Self::HeaderNotObject => seal(&json!(["ES256", key.kid()]).to_string(), &claims, key),
            Self::ClaimsNotJson => seal(&header, &claims[..claims.len() - 1], key),
            Self::ClaimsNotObject => seal(&header, &format!("[{claims}]"), key),
            Self::ClaimsNotUtf8 => {
                let mut bytes = claims.clone().into_bytes();
                bytes.splice(1..1, *b"\"x\":\"\xff\",");
                let input = format!("{}.{}", base64url(header.as_bytes()), base64url(&bytes));
                format!("{input}.{}", base64url(&key.sign(input.as_bytes())))
            }
            Self::ClaimsTrailingBytes => seal(&header, &format!("{claims}{{}}"), key),
            Self::DuplicateHeader => seal(&format!(r#"{{"alg":"none",{}"#, &header[1..]), &claims, key),
            Self::DuplicateZone => prefixed(r#""zone_id":"other""#),
            Self::DuplicateExpiry => prefixed(r#""exp":1"#),
            Self::DuplicateEscapedZone => prefixed(r#""z\u006fne_id":"other""#),
            Self::ExpiryMissing => mandate.clone().without("exp").sign(key),
            Self::ExpiryText => reclaimed("exp", json!(mandate.claims["exp"].to_string())),
            Self::ExpiryFraction => {
                reclaimed("exp", json!(mandate.claims["exp"].as_f64().expect("exp") + 0.5))
            }
            Self::ExpiryInfinite => {
                let expiry = format!("\"exp\":{}", mandate.claims["exp"]);
                seal(&header, &claims.replace(&expiry, "\"exp\":1e400"), key)
            }
            Self::ExpiryNull => reclaimed("exp", Value::Null),
            Self::JtiMissing => mandate.clone().without("jti").sign(key),
            Self::JtiEmpty => reclaimed("jti", json!("")),
            Self::JtiNumber => reclaimed("jti", json!(7)),
            Self::LifetimeOverADay => {
                let issued = mandate.claims["iat"].as_u64().expect("iat");
                reclaimed("exp", json!(issued + 24 * 3600 + 120))
            }
            Self::OtherKey => mandate.sign(&Key::generate(key.kid())),
            Self::UnknownKid => mandate.sign(&Key::generate("unknown")),
            Self::TamperedClaims => {
                let other = signing_input(
                    &header,
                    &mandate.clone().claim("client_id", "app-2").claims_json(),
                );
                format!("{other}.{}", base64url(&signature()))
            }
            Self::TamperedHeader => {
                let other = signing_input(&mandate.clone().header("typ", "at+jwt").header_json(key), &claims);
                format!("{other}.{}", base64url(&signature()))
            }
            Self::DerSignature => with(&key.sign_der(input.as_bytes())),
            Self::SignatureOfZeros => with(&[0; 64]),
            Self::RZero => with(&[&[0; 32], &signature()[32..]].concat()),
            Self::SZero => with(&[&signature()[..32], &[0; 32]].concat()),
            Self::RIsOrder => with(&[&ORDER, &signature()[32..]].concat()),
            Self::SIsOrder => with(&[&signature()[..32], &ORDER].concat()),
            Self::SignatureTooShort => with(&signature()[..63]),
            Self::SignatureTooLong => with(&[signature().as_slice(), &[0]].concat()),
        }
    }
}

/// The order of the group of P-256 (SEC 2 §2.4.2).
const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa,
    0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

/// The other signature that verifies for the same message and key: s becomes the order minus s. The mandate stays
/// good, in other bytes and with the same `jti`.
pub fn high_s_twin(token: &str) -> String {
    let (input, signature) = token.rsplit_once('.').expect("a compact JWS");
    let mut signature = BASE64URL_NOPAD
        .decode(signature.as_bytes())
        .expect("a signature in base64url");
    let mut borrow = 0;
    for (byte, order) in signature[32..].iter_mut().zip(ORDER).rev() {
        let difference = i16::from(order) - i16::from(*byte) - borrow;
        borrow = i16::from(difference < 0);
        *byte = u8::try_from(difference.rem_euclid(256)).expect("a byte");
    }
    format!("{input}.{}", base64url(&signature))
}

/// 64 bytes take 86 letters, the last of which has four bits to spare that must be zero (RFC 4648 §3.5).
fn spare_bits(token: &str) -> String {
    let (rest, last) = token.split_at(token.len() - 1);
    let twin = match last {
        "A" => "B",
        "Q" => "R",
        "g" => "h",
        "w" => "x",
        other => unreachable!("{other} does not end 64 bytes"),
    };
    format!("{rest}{twin}")
}
