//! Gate 6, second half: the claims, parsed once and strictly (RFC 7519 §4).
//!
//! Names must be unique, and a name that equals a known one in another case is refused: another
//! reader of the same bytes might take the other one. Unknown claims are skipped unread.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};

use super::Malformed;
use crate::limits::Limits;
use crate::ports::Moment;

/// The claims that the gateway reads. All others belong to the STS and to resource servers.
#[derive(Default)]
pub struct Claims<'r> {
    exp: Option<i64>,
    nbf: Option<i64>,
    iat: Option<i64>,
    jti: Option<Cow<'r, str>>,
    zone_id: Option<Cow<'r, str>>,
    client_id: Option<Cow<'r, str>>,
    use_class: Option<Cow<'r, str>>,
    sub_type: Option<Cow<'r, str>>,
    sid: Option<Cow<'r, str>>,
    root_sid: Option<Cow<'r, str>>,
    agent_session_id: Option<Cow<'r, str>>,
    delegation_edge_id: Option<Cow<'r, str>>,
    repeatable: Repeatable,
}

/// Whether a mandate may be presented again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Repeatable {
    /// Its `use` class is listed in `REUSABLE_MANDATE_USES`.
    Reusable,
    /// One presentation only: every other class, and a mandate without one.
    #[default]
    SingleUse,
}

/// What a revocation names: any of these ends the mandate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Anchors<'a> {
    /// `sid`: the authority record.
    pub sid: Option<&'a str>,
    /// `root_sid`: the root of its ancestry.
    pub root_sid: Option<&'a str>,
    /// `agent_session_id`: the governed session.
    pub agent_session_id: Option<&'a str>,
    /// `delegation_edge_id`: the delegation edge.
    pub delegation_edge_id: Option<&'a str>,
}

/// Parses the claims object and judges what makes a mandate well formed.
pub(super) fn parse<'r>(payload: &'r [u8], limits: &Limits, now: Moment) -> Result<Claims<'r>, Malformed> {
    // As text, because members that are skipped are not checked to be UTF-8 (RFC 8259 §8.1).
    let payload = std::str::from_utf8(payload).map_err(|_| Malformed)?;
    let mut claims: Claims<'r> = serde_json::from_str(payload).map_err(|_| Malformed)?;
    let expiry = claims.exp.ok_or(Malformed)?;
    if claims
        .use_class
        .as_deref()
        .is_some_and(|class| limits.reusable_uses.contains(class))
    {
        claims.repeatable = Repeatable::Reusable;
        return Ok(claims);
    }
    let life = expiry.saturating_sub(now.unix.as_secs().try_into().unwrap_or(i64::MAX));
    let bounded = life <= i64::try_from(Limits::MAX_SINGLE_USE_LIFE.as_secs()).unwrap_or(i64::MAX);
    if bounded && claims.jti.as_deref().is_some_and(|jti| !jti.is_empty()) {
        Ok(claims)
    } else {
        Err(Malformed)
    }
}

impl Claims<'_> {
    /// `exp` in Unix seconds.
    #[must_use]
    pub fn expires_at(&self) -> i64 {
        self.exp.unwrap_or(i64::MIN)
    }

    pub(super) fn not_before(&self) -> Option<i64> {
        self.nbf
    }

    /// `iat` in Unix seconds.
    #[must_use]
    pub fn issued_at(&self) -> Option<i64> {
        self.iat
    }

    /// `jti`; never absent on a single-use mandate.
    #[must_use]
    pub fn jti(&self) -> Option<&str> {
        self.jti.as_deref()
    }

    /// `zone_id`; never absent once gate 8 is passed.
    #[must_use]
    pub fn zone_id(&self) -> Option<&str> {
        self.zone_id.as_deref()
    }

    /// `client_id`: the application that minted the mandate.
    #[must_use]
    pub fn client_id(&self) -> Option<&str> {
        self.client_id.as_deref()
    }

    /// `sub_type`: `application` or `user`.
    #[must_use]
    pub fn sub_type(&self) -> Option<&str> {
        self.sub_type.as_deref()
    }

    /// Whether the mandate may be presented again.
    #[must_use]
    pub fn repeatable(&self) -> Repeatable {
        self.repeatable
    }

    /// The revocation anchors.
    #[must_use]
    pub fn anchors(&self) -> Anchors<'_> {
        Anchors {
            sid: self.sid.as_deref(),
            root_sid: self.root_sid.as_deref(),
            agent_session_id: self.agent_session_id.as_deref(),
            delegation_edge_id: self.delegation_edge_id.as_deref(),
        }
    }
}

impl<'de> Deserialize<'de> for Claims<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ClaimsVisitor)
    }
}

struct ClaimsVisitor;

impl<'de> Visitor<'de> for ClaimsVisitor {
    type Value = Claims<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("one claims object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Claims<'de>, A::Error> {
        let mut claims = Claims::default();
        let mut names: Vec<Cow<'de, str>> = Vec::with_capacity(24);
        while let Some(Borrowed(name)) = map.next_key()? {
            let text = |map: &mut A| map.next_value().map(|Borrowed(text)| Some(text));
            match name.as_ref() {
                "exp" => claims.exp = Some(map.next_value()?),
                "nbf" => claims.nbf = Some(map.next_value()?),
                "iat" => claims.iat = Some(map.next_value()?),
                "jti" => claims.jti = text(&mut map)?,
                "zone_id" => claims.zone_id = text(&mut map)?,
                "client_id" => claims.client_id = text(&mut map)?,
                "use" => claims.use_class = text(&mut map)?,
                "sub_type" => claims.sub_type = text(&mut map)?,
                "sid" => claims.sid = text(&mut map)?,
                "root_sid" => claims.root_sid = text(&mut map)?,
                "agent_session_id" => claims.agent_session_id = text(&mut map)?,
                "delegation_edge_id" => claims.delegation_edge_id = text(&mut map)?,
                other if KNOWN.iter().any(|known| folds_to(other, known)) => {
                    return Err(A::Error::custom("claim name in another case"));
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
            names.push(name);
        }
        names.sort_unstable();
        if names.windows(2).any(|pair| matches!(pair, [a, b] if a == b)) {
            return Err(A::Error::custom("duplicate claim name"));
        }
        Ok(claims)
    }
}

const KNOWN: [&str; 12] = [
    "exp",
    "nbf",
    "iat",
    "jti",
    "zone_id",
    "client_id",
    "use",
    "sub_type",
    "sid",
    "root_sid",
    "agent_session_id",
    "delegation_edge_id",
];

/// Whether a name equals a known one in another case, under Unicode's simple folding too:
/// some readers take the long s for an `s`, and the Kelvin sign for a `k`.
fn folds_to(name: &str, known: &str) -> bool {
    let fold = |letter| match letter {
        'ſ' => 's',
        '\u{212a}' => 'k',
        other => char::to_ascii_lowercase(&other),
    };
    name.chars().map(fold).eq(known.chars())
}

/// A string, borrowed from the payload unless it holds an escape.
struct Borrowed<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Borrowed<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Borrowed<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Borrowed(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Borrowed(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Text)
    }
}
