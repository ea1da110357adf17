//! Gate 6, second half: the claims, parsed once and strictly (RFC 7519 §4).

mod read;

use std::borrow::Cow;

use super::jws::Malformed;
use crate::limits::Limits;
use crate::moment::Moment;
use read::Members;

/// The claims that the gateway reads. All others belong to the STS and to resource servers.
pub struct Claims<'r> {
    expires_at: i64,
    /// The `jti` of a mandate that may be presented only once.
    single_use: Option<Cow<'r, str>>,
    members: Members<'r>,
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
    let mut members: Members<'r> = serde_json::from_str(payload).map_err(|_| Malformed)?;
    let expires_at = members.exp.ok_or(Malformed)?;
    let latest = now.unix.saturating_add(Limits::MAX_MANDATE_LIFE).as_secs();
    if u64::try_from(expires_at).is_ok_and(|expiry| expiry > latest) {
        return Err(Malformed);
    }
    let class = members.use_class.as_deref();
    let single_use = match class.is_some_and(|class| limits.reusable_uses.contains(class)) {
        true => None,
        false => Some(
            members
                .jti
                .take()
                .filter(|jti| !jti.is_empty())
                .ok_or(Malformed)?,
        ),
    };
    Ok(Claims {
        expires_at,
        single_use,
        members,
    })
}

impl<'r> Claims<'r> {
    /// `exp` in Unix seconds.
    #[must_use]
    pub fn expires_at(&self) -> i64 {
        self.expires_at
    }

    pub(super) fn not_before(&self) -> Option<i64> {
        self.members.nbf
    }

    /// `iat` in Unix seconds.
    #[must_use]
    pub fn issued_at(&self) -> Option<i64> {
        self.members.iat
    }

    /// The `jti` of a mandate that may be presented only once: of every class but those in
    /// `REUSABLE_MANDATE_USES`, and of a mandate without a class.
    #[must_use]
    pub fn single_use(&self) -> Option<&str> {
        self.single_use.as_deref()
    }

    /// Takes `zone_id` out, for the gate that judges it.
    pub(super) fn take_zone(&mut self) -> Option<Cow<'r, str>> {
        self.members.zone_id.take()
    }

    /// `client_id`: the application that minted the mandate.
    #[must_use]
    pub fn client_id(&self) -> Option<&str> {
        self.members.client_id.as_deref()
    }

    /// `sub_type`: `application` or `user`.
    #[must_use]
    pub fn sub_type(&self) -> Option<&str> {
        self.members.sub_type.as_deref()
    }

    /// The revocation anchors.
    #[must_use]
    pub fn anchors(&self) -> Anchors<'_> {
        Anchors {
            sid: self.members.sid.as_deref(),
            root_sid: self.members.root_sid.as_deref(),
            agent_session_id: self.members.agent_session_id.as_deref(),
            delegation_edge_id: self.members.delegation_edge_id.as_deref(),
        }
    }
}
