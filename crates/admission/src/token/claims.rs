//! Gate 6, second half: the claims, parsed once and strictly (RFC 7519 §4).

mod read;

use std::borrow::Cow;

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
