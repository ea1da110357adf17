//! Reads the claims object in one pass, borrowing.
//!
//! Names must be unique, and a name that equals a known one in another case is refused: another
//! reader of the same bytes might take the other one. Unknown claims are skipped unread.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};

/// The members that are read, as they stand in the object.
#[derive(Default)]
pub(super) struct Members<'r> {
    pub(super) exp: Option<i64>,
    pub(super) nbf: Option<i64>,
    pub(super) iat: Option<i64>,
    pub(super) jti: Option<Cow<'r, str>>,
    pub(super) zone_id: Option<Cow<'r, str>>,
    pub(super) client_id: Option<Cow<'r, str>>,
    pub(super) use_class: Option<Cow<'r, str>>,
    pub(super) sub_type: Option<Cow<'r, str>>,
    pub(super) sid: Option<Cow<'r, str>>,
    pub(super) root_sid: Option<Cow<'r, str>>,
    pub(super) agent_session_id: Option<Cow<'r, str>>,
    pub(super) delegation_edge_id: Option<Cow<'r, str>>,
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("one claims object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
        let mut claims = Members::default();
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
    // The two letters that fold to fewer bytes make a name longer, never shorter.
    match name.len().cmp(&known.len()) {
        Ordering::Less => false,
        Ordering::Equal => name.eq_ignore_ascii_case(known),
        Ordering::Greater => !name.is_ascii() && name.chars().map(fold).eq(known.chars()),
    }
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
