//! The gateway's exchange of a presented mandate for a resource mandate.

use std::collections::BTreeMap;

use http::request::Parts;
use serde_json::value::RawValue;

use super::claims::Claims;
use super::mint::DEFAULT_TTL;
use super::refusal::Refusal;
use super::signature::BadSignature;
use super::state::Sts;
use super::zone::Zone;
use super::{answer, signature, token};
use crate::form::Form;
use crate::ids::uuid_v7;
use crate::revoke::AnchorKind;

/// How far the clocks behind `exp`, `iat` and `nbf` may be off, in seconds.
const LEEWAY_SECONDS: u64 = 60;

impl Sts {
    /// Judges a signed exchange and writes its answer. `directive` replaces the
    /// resource's own.
    pub(super) fn exchange(
        &self,
        request: &Parts,
        body: &[u8],
        form: &Form<'_>,
        directive: Option<&RawValue>,
    ) -> Result<Vec<u8>, Refusal> {
        let now = self.now();
        self.authenticate(request, body, form, now)
            .map_err(|_| Refusal::caller("invalid gateway exchange signature"))?;
        let zone_id = form.get("zone_id").unwrap_or_default();
        let application = form.get("application_id").unwrap_or_default();
        let zone = self
            .0
            .zones
            .get(zone_id)
            .filter(|zone| zone.client(application).is_some());
        let zone = zone.ok_or_else(|| Refusal::caller("invalid client credentials"))?;
        let presented = form.get("subject_token").unwrap_or_default();
        let subject = token::open(zone, presented, now)
            .filter(|claims| self.accepts(claims, zone_id, now))
            .ok_or_else(Refusal::subject)?;
        self.check_records(&subject, application)?;
        let granted = grant(zone, &subject, form.all("resource"), directive)?;
        let targets: Vec<String> = granted.keys().map(|resource| (*resource).to_owned()).collect();
        let scope = subject.scope.clone();
        let mandate = self.resource_mandate(subject, targets.clone(), now)?;
        let token = token::issue(zone, &mandate).map_err(|_| Refusal::internal())?;
        answer::write(&token, DEFAULT_TTL, &scope, &targets, granted)
    }

    /// The signature holds, the nonce is new and is now spent, and the form names the same
    /// request as the header. A nonce is spent once its signature verifies, whatever follows.
    fn authenticate(
        &self,
        request: &Parts,
        body: &[u8],
        form: &Form<'_>,
        now: u64,
    ) -> Result<(), BadSignature> {
        let (headers, path) = (&request.headers, request.uri.path());
        let nonce = signature::verify(&self.0.gateway_key, headers, &request.method, path, body, now)?;
        self.0.nonces.lock().spend(nonce, now)?;
        let request_id = signature::only(headers, "x-request-id")?;
        if form.get("gateway_request_id") == Some(request_id) {
            Ok(())
        } else {
            Err(BadSignature)
        }
    }

    fn accepts(&self, claims: &Claims, zone_id: &str, now: u64) -> bool {
        let latest = now.saturating_add(LEEWAY_SECONDS);
        let right_use = match claims.mandate_use.as_str() {
            "gateway" => true,
            "session" => self.0.accept_session_mandates,
            _ => false,
        };
        right_use
            && claims.iss == self.issuer()
            && claims.aud.iter().any(|audience| audience == self.issuer())
            && claims.zone_id == zone_id
            && claims.exp.saturating_add(LEEWAY_SECONDS) > now
            && claims.iat <= latest
            && claims.nbf.is_none_or(|nbf| nbf <= latest)
    }

    /// The records the mandate rests on are those of this application and not revoked.
    fn check_records(&self, subject: &Claims, application: &str) -> Result<(), Refusal> {
        if subject.sid.is_empty() {
            return Err(Refusal::new(
                http::StatusCode::FORBIDDEN,
                "invalid_token",
                "missing token authority record",
            ));
        }
        let revoked =
            |kind, id: &str| !id.is_empty() && self.0.revocations.contains(&subject.zone_id, kind, id);
        let optional = |id: &Option<String>, kind| id.as_deref().is_some_and(|id| revoked(kind, id));
        if revoked(AnchorKind::Session, &subject.sid) || revoked(AnchorKind::Session, &subject.root_sid) {
            return Err(Refusal::denied("authority record inactive or expired"));
        }
        if subject.client_id != application {
            return Err(Refusal::denied("authority record client mismatch"));
        }
        if optional(&subject.agent_session_id, AnchorKind::AgentSession) {
            return Err(Refusal::denied("session inactive or expired"));
        }
        if optional(&subject.delegation_edge_id, AnchorKind::DelegationEdge) {
            return Err(Refusal::denied("delegation edge inactive or expired"));
        }
        Ok(())
    }

    /// The mandate for the upstream: the subject's identity under new ids, with a lifetime
    /// of its own.
    fn resource_mandate(&self, subject: Claims, targets: Vec<String>, now: u64) -> Result<Claims, Refusal> {
        let fresh = || uuid_v7(now).map_err(|_| Refusal::internal());
        let root_sid = if subject.root_sid.is_empty() {
            subject.sid
        } else {
            subject.root_sid
        };
        Ok(Claims {
            aud: targets.clone(),
            target: targets,
            exp: now.saturating_add(DEFAULT_TTL),
            iat: now,
            jti: fresh()?,
            sid: fresh()?,
            root_sid,
            mandate_use: "resource".to_owned(),
            ..subject
        })
    }
}

/// The directives of the resources that exist and that the mandate targets.
fn grant<'a>(
    zone: &'a Zone,
    subject: &Claims,
    resources: impl Iterator<Item = &'a str>,
    directive: Option<&'a RawValue>,
) -> Result<BTreeMap<&'a str, &'a RawValue>, Refusal> {
    if subject.mandate_use == "gateway" && (subject.delegation_edge_id.is_none() || subject.scope.is_empty())
    {
        return Err(Refusal::denied("policy denied (no_rule_matched)"));
    }
    let mut refusal = Refusal::form("at least one resource is required");
    let mut granted = BTreeMap::new();
    for resource in resources {
        let targeted = subject.target.iter().any(|target| target == resource);
        match zone.directive(resource) {
            None => refusal = Refusal::denied("policy denied"),
            Some(_) if !targeted => refusal = Refusal::denied("policy denied (mandate_target_mismatch)"),
            Some(own) => {
                granted.insert(resource, directive.unwrap_or(own));
            }
        }
    }
    if granted.is_empty() {
        Err(refusal)
    } else {
        Ok(granted)
    }
}
