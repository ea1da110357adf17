//! The STS over HTTP.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::io::{AsyncRead, AsyncWrite};

use super::refusal::Refusal;
use super::signature;
use super::state::Sts;
use crate::form::Form;
use crate::ids::uuid_v7;
use crate::revoke::{AnchorKind, Revocation};
use crate::script::{Answer, RawAnswer, Scope};
use crate::server::{self, Body, Dropped, Handled, full};

/// The longest request body, in bytes.
const MAX_BODY: usize = 64 * 1024;
/// How long a request body may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

impl Sts {
    /// Serves one connection over any stream, for instance one that TLS was taken off.
    pub async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(self, stream: S) {
        server::serve(stream, |request| handle(self.clone(), request)).await;
    }
}

/// Routes by the end of the path, so that the STS may stand below any prefix.
async fn handle(sts: Sts, request: Request<Incoming>) -> Handled {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path();
    let rotated = path
        .strip_suffix("/signing-key/rotate")
        .and_then(|front| front.rsplit_once("/internal/zones/").map(|(_, zone)| zone));
    let answered = if path.ends_with("/oauth/2/token") {
        if let Some(refused) = other_method(&parts, &Method::POST) {
            return Ok(refused);
        }
        token(&sts, &parts, body).await?
    } else if path.ends_with("/.well-known/jwks.json") {
        if let Some(refused) = other_method(&parts, &Method::GET) {
            return Ok(refused);
        }
        return jwks(&sts, &parts).await;
    } else if path.ends_with("/health") {
        return health(&sts).await;
    } else if path.ends_with("/revoke") {
        revoke(&sts, &parts, body).await
    } else if let Some(zone) = rotated {
        admin(&sts, &parts).and_then(|()| rotate(&sts, zone))
    } else {
        return Ok(plain(StatusCode::NOT_FOUND, "Not Found"));
    };
    Ok(finish(&sts, &parts, answered))
}

/// A token answer, or the scripted one.
async fn token(sts: &Sts, parts: &Parts, body: Incoming) -> Result<Result<Response<Body>, Refusal>, Dropped> {
    let body = match read_form(parts, body).await {
        Ok(body) => body,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let form = match check_form(&body) {
        Ok(form) => form,
        Err(refusal) => return Ok(Err(refusal)),
    };
    if !signature::is_claimed(&parts.headers) {
        sts.count(|counts| counts.mints += 1);
        return Ok(sts.mint_form(&form).map(ok_json));
    }
    sts.count(|counts| counts.exchanges += 1);
    let scope = Scope::Resource(form.get("resource").unwrap_or_default().to_owned());
    let directive = match sts.0.script.play(&scope).await {
        None => None,
        Some(Answer::Raw(raw)) => return Ok(Ok(literal(&raw))),
        Some(Answer::Drop) => return Err(Dropped),
        Some(Answer::Directive(json)) => match RawValue::from_string(json) {
            Ok(json) => Some(json),
            Err(_) => return Ok(Err(Refusal::internal())),
        },
    };
    let answered = sts.exchange(parts, &body, &form, directive.as_deref());
    Ok(answered.map(ok_json))
}

/// The body of a form request, whose content is not looked at yet.
async fn read_form(parts: &Parts, body: Incoming) -> Result<Bytes, Refusal> {
    let media_type = header(parts, CONTENT_TYPE)
        .and_then(|value| value.split(';').next())
        .map(str::trim)
        .unwrap_or_default();
    if !media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Err(Refusal::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "invalid_token",
            "content type must be application/x-www-form-urlencoded",
        ));
    }
    if parts.uri.query().is_some_and(|query| !query.is_empty()) {
        return Err(Refusal::form("query parameters are not allowed"));
    }
    read(body).await
}

async fn read(body: Incoming) -> Result<Bytes, Refusal> {
    match tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, MAX_BODY).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Refusal::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "payload_too_large",
            "request body too large",
        )),
        _ => Err(Refusal::form("malformed request body")),
    }
}

/// The form rules that hold for every token request.
fn check_form(body: &[u8]) -> Result<Form<'_>, Refusal> {
    let form = Form::parse(body).map_err(|_| Refusal::form("malformed request body"))?;
    if let Some(name) = form.duplicate("resource") {
        return Err(Refusal::form(format!("duplicate form field: {name}")));
    }
    for name in ["actor_token", "client_assertion", "client_assertion_type"] {
        if form.get(name).is_some() {
            return Err(Refusal::form(format!("unsupported form field: {name}")));
        }
    }
    let presents = form.get("subject_token").is_some();
    match form.get("grant_type") {
        Some(EXCHANGE) => {}
        Some("client_credentials") if !presents => {}
        _ => return Err(Refusal::form("unsupported grant_type")),
    }
    match form.get("subject_token_type") {
        Some(ACCESS_TOKEN) => {}
        Some(_) => return Err(Refusal::form("unsupported subject_token_type")),
        None if presents => {
            return Err(Refusal::form("subject_token_type is required with subject_token"));
        }
        None => {}
    }
    if form.all("resource").any(str::is_empty) {
        return Err(Refusal::form("resource must not be empty"));
    }
    if presents && form.get("resource").is_none() {
        return Err(Refusal::form("at least one resource is required"));
    }
    Ok(form)
}

async fn jwks(sts: &Sts, parts: &Parts) -> Handled {
    sts.count(|counts| counts.jwks += 1);
    let query = Form::parse(parts.uri.query().unwrap_or_default().as_bytes()).ok();
    let zone_id = query.as_ref().and_then(|query| query.get("zone_id"));
    let zone_id = zone_id.unwrap_or_default();
    match sts.0.script.play(&Scope::ZoneJwks(zone_id.to_owned())).await {
        Some(Answer::Raw(raw)) => return Ok(literal(&raw)),
        Some(Answer::Drop) => return Err(Dropped),
        Some(Answer::Directive(_)) | None => {}
    }
    let answered = match sts.0.zones.get(zone_id) {
        _ if zone_id.is_empty() => Err(Refusal::form("zone_id required")),
        None => Err(no_such_zone()),
        Some(zone) => {
            let cache = HeaderValue::from_static("public, max-age=300, must-revalidate");
            let nosniff = HeaderValue::from_static("nosniff");
            let headers = [
                (CONTENT_TYPE, JSON),
                (CACHE_CONTROL, cache),
                (X_CONTENT_TYPE_OPTIONS, nosniff),
            ];
            let body = full(zone.keys().jwks(sts.now()).to_string());
            Ok(server::answer(StatusCode::OK, headers, body))
        }
    };
    Ok(finish(sts, parts, answered))
}

async fn health(sts: &Sts) -> Handled {
    match sts.0.script.play(&Scope::Health).await {
        Some(Answer::Raw(raw)) => Ok(literal(&raw)),
        Some(Answer::Drop) => Err(Dropped),
        Some(Answer::Directive(_)) | None => Ok(server::answer(StatusCode::NO_CONTENT, [], full(""))),
    }
}

#[derive(Deserialize)]
struct RevokeBody {
    kind: AnchorKind,
    id: String,
    /// May be left out where the stack has one zone.
    zone_id: Option<String>,
}

async fn revoke(sts: &Sts, parts: &Parts, body: Incoming) -> Result<Response<Body>, Refusal> {
    admin(sts, parts)?;
    let body = read(body).await?;
    let named: RevokeBody = serde_json::from_slice(&body)
        .map_err(|_| Refusal::form("body must be {\"kind\", \"id\"} with a kind of session_id, agent_session_id or delegation_edge_id"))?;
    let mut zones = sts.0.zones.keys();
    let only_zone = || zones.next().filter(|_| sts.0.zones.len() == 1).cloned();
    let zone = named.zone_id.or_else(only_zone).unwrap_or_default();
    if !sts.0.zones.contains_key(&zone) {
        return Err(Refusal::form("zone_id required"));
    }
    sts.revoke(Revocation {
        kind: named.kind,
        id: named.id,
        zone,
    })
    .map_err(|error| {
        Refusal::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "operation_not_permitted",
            error.to_string(),
        )
    })?;
    Ok(server::answer(StatusCode::NO_CONTENT, [], full("")))
}

fn no_such_zone() -> Refusal {
    Refusal::new(
        StatusCode::NOT_FOUND,
        "resource_not_found",
        "zone signing key not found",
    )
}

fn rotate(sts: &Sts, zone: &str) -> Result<Response<Body>, Refusal> {
    let kid = sts.rotate_key(zone).map_err(|error| match error {
        crate::Error::UnknownZone(_) => no_such_zone(),
        _ => Refusal::internal(),
    })?;
    Ok(ok_json(serde_json::json!({ "kid": kid }).to_string()))
}

/// The text of a field.
fn header(parts: &Parts, name: HeaderName) -> Option<&str> {
    parts.headers.get(name)?.to_str().ok()
}

/// Only a caller with the admin token may go on.
fn admin(sts: &Sts, parts: &Parts) -> Result<(), Refusal> {
    let token = header(parts, AUTHORIZATION)
        .and_then(|value| value.strip_prefix("Bearer "))
        .unwrap_or_default();
    if !sts.0.admin_token.matches(token) {
        return Err(Refusal::caller("invalid admin token"));
    }
    if parts.method != Method::POST {
        return Err(Refusal::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "operation_not_permitted",
            "method not allowed",
        ));
    }
    Ok(())
}

/// The router's own answer to another method.
fn other_method(parts: &Parts, method: &Method) -> Option<Response<Body>> {
    (parts.method != *method).then(|| {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
        if let Ok(allowed) = HeaderValue::from_str(method.as_str()) {
            response.headers_mut().insert(ALLOW, allowed);
        }
        response
    })
}

fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    let headers = [(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    )];
    server::answer(status, headers, full(text))
}

fn ok_json(body: impl Into<Bytes>) -> Response<Body> {
    server::answer(StatusCode::OK, [(CONTENT_TYPE, JSON)], full(body))
}

fn literal(raw: &RawAnswer) -> Response<Body> {
    let status = StatusCode::from_u16(raw.status)
        .ok()
        .filter(|status| status.as_u16() >= 200);
    let given = raw.headers.iter();
    let headers = server::fields(given.map(|(name, value)| (name.as_str(), value.as_str())));
    server::answer(
        status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        headers,
        full(raw.body.clone()),
    )
}

/// Adds the caller's request id, and writes a refusal's body.
fn finish(sts: &Sts, parts: &Parts, answered: Result<Response<Body>, Refusal>) -> Response<Body> {
    let given = header(parts, X_REQUEST_ID);
    let mut response = match answered {
        Ok(response) => response,
        Err(refusal) => {
            let made = uuid_v7(sts.now()).unwrap_or_default();
            let body = serde_json::json!({
                "error": refusal.error,
                "error_description": refusal.description,
                "requestId": given.unwrap_or(&made),
            });
            server::answer(refusal.status, [(CONTENT_TYPE, JSON)], full(body.to_string()))
        }
    };
    if let Some(Ok(id)) = given.map(HeaderValue::from_str) {
        response.headers_mut().insert(X_REQUEST_ID, id);
    }
    response
}
