//! The three database layouts that a gateway meets.

/// Which tables a database has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// No tables at all.
    Empty,
    /// The stack of June 2026: a binding table with a revision counter that its API keeps, no triggers; authority
    /// records are called `sessions`, governed sessions `agent_sessions`.
    June,
    /// The stack of August 2026: no binding table (the client id of the mandate decides), `authority_records` and
    /// `sessions`.
    August,
    /// A gateway that owns its database, as `caracal-gateway migrate` makes it: the binding table beside the August names,
    /// with triggers that keep the revision and notify the channel `caracal_gateway_bindings`.
    StandAlone,
}

impl Layout {
    /// Every layout that has tables.
    pub const ALL: [Self; 3] = [Self::June, Self::August, Self::StandAlone];

    /// Whether `gateway_resource_bindings` exists.
    pub fn has_bindings(self) -> bool {
        matches!(self, Self::June | Self::StandAlone)
    }

    pub(super) fn sql(self, gateway_role: &str) -> String {
        let parts: &[&str] = match self {
            Self::Empty => &[],
            Self::June => &[COMMON, BINDINGS, JUNE, include_str!("june_grants.sql")],
            Self::August => &[COMMON, AUGUST, include_str!("august_grants.sql")],
            Self::StandAlone => &[STAND_ALONE, include_str!("stand_alone_grants.sql")],
        };
        parts.concat().replace("GATEWAY_ROLE", gateway_role)
    }

    pub(super) fn set_authority(self) -> &'static str {
        if self == Self::June {
            "INSERT INTO sessions (id, zone_id, session_type, subject_id, status, expires_at) \
             VALUES ($1, $2, 'application', 'app-1', $3, now() + interval '1 hour') \
             ON CONFLICT (id) DO UPDATE SET status = $3"
        } else {
            "INSERT INTO authority_records (id, zone_id, session_type, subject_id, status, expires_at, revoked_at) \
             VALUES ($1, $2, 'application', 'app-1', $3, now() + interval '1 hour', \
                     CASE WHEN $3 = 'revoked' THEN now() END) \
             ON CONFLICT (id) DO UPDATE SET status = $3, revoked_at = EXCLUDED.revoked_at"
        }
    }

    pub(super) fn set_session(self) -> &'static str {
        if self == Self::June {
            "INSERT INTO agent_sessions (id, zone_id, application_id, subject_session_id, status) \
             VALUES ($1, $2, 'app-1', 'record-1', $3) \
             ON CONFLICT (id) DO UPDATE SET status = $3, updated_at = now()"
        } else {
            "INSERT INTO sessions \
                 (id, zone_id, application_id, subject_authority_record_id, status, ttl_seconds, terminated_at) \
             VALUES ($1, $2, 'app-1', 'record-1', $3, 3600, \
                     CASE WHEN $3 IN ('terminated', 'expired') THEN now() END) \
             ON CONFLICT (id) DO UPDATE \
             SET status = $3, terminated_at = EXCLUDED.terminated_at, updated_at = now()"
        }
    }
}

pub(super) const SET_EDGE: &str = "INSERT INTO delegation_edges \
         (id, zone_id, source_session_id, target_session_id, issuer_application_id, receiver_application_id, \
          status, expires_at, revoked_at) \
     VALUES ($1, $2, 'session-1', 'session-2', 'app-1', 'app-2', $3, now() + interval '1 hour', \
             CASE WHEN $3 = 'revoked' THEN now() END) \
     ON CONFLICT (id) DO UPDATE SET status = $3, revoked_at = EXCLUDED.revoked_at, updated_at = now()";

const COMMON: &str = include_str!("common.sql");
const BINDINGS: &str = include_str!("bindings.sql");
const JUNE: &str = include_str!("june.sql");
const AUGUST: &str = include_str!("august.sql");
/// What `caracal-gateway migrate` makes.
const STAND_ALONE: &str = include_str!("../../../crates/backends/src/stand_alone/schema.sql");
