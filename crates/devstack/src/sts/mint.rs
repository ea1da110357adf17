//! Minting mandates for applications.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::to_raw_value;

use super::claims::Claims;
use super::refusal::Refusal;
use super::state::Sts;
use super::{answer, token};
use crate::form::Form;
use crate::ids::uuid_v7;
use crate::{Error, Secret};

/// Lifetime of a mandate when none is asked for, in seconds.
pub(super) const DEFAULT_TTL: u64 = 15 * 60;
/// The longest lifetime of a directly minted mandate, in seconds.
const MAX_TTL: u64 = 60 * 60;
/// Scope of a mandate when none is asked for: the exchange demands one.
const DEFAULT_SCOPE: &str = "invoke";

/// The class of a mandate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Use {
    /// For one request through the gateway.
    #[default]
    Gateway,
    /// An application's reusable one.
    Session,
}

impl Use {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Session => "session",
        }
    }
}

/// What mandate to mint.
#[derive(Clone, Debug, Default)]
pub struct MintRequest {
    /// `zone_id`.
    pub zone: String,
    /// The application it is minted for.
    pub client_id: String,
    /// Its class.
    pub mandate_use: Use,
    /// The resources it targets; a gateway mandate needs one.
    pub resources: Vec<String>,
    /// Its scope; `None` is `invoke`.
    pub scope: Option<String>,
    /// `sub`; `None` is the application itself.
    pub subject: Option<String>,
    /// The governed session; a gateway mandate gets a new one where it is `None`.
    pub agent_session_id: Option<String>,
    /// The delegation edge; a gateway mandate gets a new one where it is `None`.
    pub delegation_edge_id: Option<String>,
    /// The authority record; `None` makes a new one.
    pub sid: Option<String>,
    /// The root of the record's ancestry; `None` is `sid`.
    pub root_sid: Option<String>,
    /// Lifetime in seconds; `None` and 0 are 900, more than 3600 is 3600.
    pub ttl_seconds: Option<u64>,
}

impl MintRequest {
    /// A gateway mandate with everything else by default and no target yet.
    #[must_use]
    pub fn new(zone: impl Into<String>, client_id: impl Into<String>) -> Self {
        Self {
            zone: zone.into(),
            client_id: client_id.into(),
            ..Self::default()
        }
    }
}

/// A fresh mandate and what it rests on.
#[derive(Clone, Debug)]
pub struct Minted {
    /// The token.
    pub token: Secret,
    /// `jti`.
    pub jti: String,
    /// `sid`.
    pub sid: String,
    /// `root_sid`.
    pub root_sid: String,
    /// `agent_session_id`.
    pub agent_session_id: Option<String>,
    /// `delegation_edge_id`.
    pub delegation_edge_id: Option<String>,
    /// `exp`, in Unix seconds.
    pub expires_at: u64,
}

#[derive(Serialize)]
struct Hop<'a> {
    application_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent_session_id: Option<&'a str>,
    delegation_edge_id: &'a str,
}

impl Sts {
    pub(crate) fn mint(&self, request: &MintRequest) -> Result<Minted, Refusal> {
        let zone = self
            .0
            .zones
            .get(&request.zone)
            .filter(|zone| zone.client(&request.client_id).is_some());
        let zone = zone.ok_or_else(|| Refusal::caller("invalid client credentials"))?;
        if request.resources.is_empty() && request.mandate_use == Use::Gateway {
            return Err(Refusal::form("at least one resource is required"));
        }
        if request
            .resources
            .iter()
            .any(|resource| zone.directive(resource).is_none())
        {
            return Err(Refusal::denied("policy denied"));
        }
        let claims = self.claims(request).map_err(|_| Refusal::internal())?;
        let token = token::issue(zone, &claims).map_err(|_| Refusal::internal())?;
        Ok(Minted {
            token: Secret::new(token),
            jti: claims.jti,
            sid: claims.sid,
            root_sid: claims.root_sid,
            agent_session_id: claims.agent_session_id,
            delegation_edge_id: claims.delegation_edge_id,
            expires_at: claims.exp,
        })
    }

    fn claims(&self, request: &MintRequest) -> Result<Claims, Error> {
        let now = self.now();
        let fresh = || uuid_v7(now);
        let governed = |given: &Option<String>| match (given, request.mandate_use) {
            (None, Use::Gateway) => fresh().map(Some),
            (given, _) => Ok(given.clone()),
        };
        let agent_session_id = governed(&request.agent_session_id)?;
        let edge = governed(&request.delegation_edge_id)?;
        let sid = request.sid.clone().map_or_else(fresh, Ok)?;
        let chain = edge.as_deref().map(|edge| Hop {
            application_id: &request.client_id,
            agent_session_id: agent_session_id.as_deref(),
            delegation_edge_id: edge,
        });
        let chain = chain.map(|hop| to_raw_value(&[hop])).transpose()?;
        let ttl = request
            .ttl_seconds
            .filter(|ttl| *ttl > 0)
            .unwrap_or(DEFAULT_TTL)
            .min(MAX_TTL);
        Ok(Claims {
            iss: self.issuer().to_owned(),
            aud: vec![self.issuer().to_owned()],
            sub: request
                .subject
                .clone()
                .unwrap_or_else(|| request.client_id.clone()),
            sub_type: if request.subject.is_some() {
                "user"
            } else {
                "application"
            }
            .to_owned(),
            exp: now.saturating_add(ttl),
            iat: now,
            nbf: None,
            jti: fresh()?,
            zone_id: request.zone.clone(),
            client_id: request.client_id.clone(),
            scope: request.scope.clone().unwrap_or_else(|| DEFAULT_SCOPE.to_owned()),
            root_sid: request.root_sid.clone().unwrap_or_else(|| sid.clone()),
            sid,
            mandate_use: request.mandate_use.name().to_owned(),
            target: request.resources.clone(),
            source_session_id: edge.as_ref().map(|_| fresh()).transpose()?,
            target_session_id: edge.as_ref().and(agent_session_id.clone()),
            delegation_path: edge.iter().cloned().collect(),
            delegation_chain: chain,
            hop_count: u64::from(edge.is_some()),
            delegation_graph_epoch: 0,
            agent_session_id,
            delegation_edge_id: edge,
        })
    }

    /// A mint over HTTP: an unsigned token request with a client secret. `use`, `sid`,
    /// `root_sid` and `subject` are this stack's own fields.
    pub(super) fn mint_form(&self, form: &Form<'_>) -> Result<Vec<u8>, Refusal> {
        let zone = form.get("zone_id").unwrap_or_default();
        let client = form
            .get("application_id")
            .or_else(|| form.get("client_id"))
            .unwrap_or_default();
        let presented = form.get("client_secret").unwrap_or_default();
        let secret = self.0.zones.get(zone).and_then(|zone| zone.client(client));
        if !secret.is_some_and(|secret| secret.matches(presented)) {
            return Err(Refusal::caller("invalid client credentials"));
        }
        if form.get("subject_token").is_some() {
            return Err(Refusal::form("an exchange needs the gateway's signature"));
        }
        let owned = |name| {
            form.get(name)
                .filter(|value| !value.is_empty())
                .map(str::to_owned)
        };
        let request = MintRequest {
            mandate_use: match form.get("use") {
                None | Some("gateway") => Use::Gateway,
                Some("session") => Use::Session,
                Some(_) => return Err(Refusal::form("use must be gateway or session")),
            },
            resources: form.all("resource").map(str::to_owned).collect(),
            scope: owned("scope"),
            subject: owned("subject"),
            agent_session_id: owned("agent_session_id"),
            delegation_edge_id: owned("delegation_edge_id"),
            sid: owned("sid"),
            root_sid: owned("root_sid"),
            ttl_seconds: match form.get("ttl_seconds") {
                None | Some("") => None,
                Some(ttl) => Some(
                    ttl.parse()
                        .map_err(|_| Refusal::form("ttl_seconds must be a whole number"))?,
                ),
            },
            ..MintRequest::new(zone, client)
        };
        let minted = self.mint(&request)?;
        answer::write(
            minted.token.expose(),
            minted.expires_at.saturating_sub(self.now()),
            request.scope.as_deref().unwrap_or(DEFAULT_SCOPE),
            &request.resources,
            BTreeMap::new(),
        )
    }
}
