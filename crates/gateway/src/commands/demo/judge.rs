//! Is an answer what it must be, and did the upstream see what it may see?

use devstack::{Credential, Recorded, Resource};
use serde_json::Value;

use super::client::{Ask, Payload, Reply};
use super::scene::Scene;

/// What must come of a request.
pub(super) enum Expect {
    /// Nothing of it reaches the upstream.
    Refused {
        status: u16,
        error: &'static str,
        description: &'static str,
    },
    /// It reaches the upstream as the resource's directive says.
    Crosses {
        resource: &'static str,
        /// What that means here, in words.
        means: &'static str,
        /// What the caller sent and the upstream must not see.
        hidden: &'static [&'static str],
    },
}

impl Expect {
    /// For the table.
    pub(super) fn words(&self) -> String {
        match self {
            Self::Refused {
                status, description, ..
            } => format!("{status} {description}"),
            Self::Crosses { means, .. } => format!("200 {means}"),
        }
    }

    /// Judges an answer; `before` is how many requests the upstream had seen. The words of an
    /// error say everything that came.
    pub(super) fn judge(&self, scene: &Scene, ask: &Ask, reply: &Reply, before: u64) -> Result<(), String> {
        let reached = scene.stack.upstream().counts().requests - before;
        let judged = match self {
            Self::Refused {
                status,
                error,
                description,
            } => refusal(ask, reply, (*status, error, description)).and_then(|()| match reached {
                0 => Ok(()),
                _ => Err("the request reached the upstream".to_owned()),
            }),
            Self::Crosses { resource, hidden, .. } => crossing(reply, reached).and_then(|()| {
                let resource = scene.resource(resource).ok_or("the stack has no such resource")?;
                let seen = scene
                    .stack
                    .upstream()
                    .last()
                    .ok_or("the upstream recorded nothing")?;
                upstream(&seen, ask, resource, hidden)
            }),
        };
        judged.map_err(|why| {
            format!(
                "{} {} ({why})",
                reply.status,
                String::from_utf8_lossy(&reply.ended.bytes).trim()
            )
        })
    }
}

fn crossing(reply: &Reply, reached: u64) -> Result<(), String> {
    must(reply.status == 200, "the status is not 200")?;
    must(reply.ended.whole, "the body was cut")?;
    must(reached == 1, "the upstream did not see exactly one request")
}

/// Everything that a refusal's answer must and must not say.
fn refusal(ask: &Ask, reply: &Reply, expect: (u16, &str, &str)) -> Result<(), String> {
    let header = |name: &str| {
        reply
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    };
    let body: Value = serde_json::from_slice(&reply.ended.bytes).map_err(|_| "the body is not JSON")?;
    let member = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
    must(
        (reply.status, member("error"), member("error_description")) == expect,
        "another refusal",
    )?;
    must(reply.ended.whole, "the body was cut")?;
    must(header("content-type") == "application/json", "Content-Type")?;
    must(header("cache-control") == "no-store", "Cache-Control")?;
    must(
        !member("requestId").is_empty() && header("x-request-id") == member("requestId"),
        "the request id",
    )?;
    must(
        reply.status != 401 || header("www-authenticate").starts_with("Bearer error="),
        "WWW-Authenticate",
    )?;
    must(
        reply.status != 503 || !header("retry-after").is_empty(),
        "Retry-After",
    )?;
    let text = String::from_utf8_lossy(&reply.ended.bytes);
    let echoed = ask
        .headers
        .iter()
        .any(|(_, value)| value.len() > 8 && text.contains(value.as_str()));
    must(!echoed, "something of the request is echoed")
}

/// What the upstream saw of an admitted request.
fn upstream(seen: &Recorded, ask: &Ask, resource: &Resource, hidden: &[&str]) -> Result<(), String> {
    let head = String::from_utf8_lossy(seen.head());
    let mandate = ask
        .headers
        .iter()
        .find_map(|(_, value)| value.strip_prefix("Bearer "))
        .unwrap_or_default();
    must(
        !mandate.is_empty() && !head.contains(mandate),
        "the mandate reached the upstream",
    )?;
    must(
        hidden.iter().all(|value| !head.contains(value)),
        "a forged value reached the upstream",
    )?;
    must(
        seen.method() == ask.method.as_str(),
        "another method reached the upstream",
    )?;
    must(
        seen.header("x-caracal-resource").is_empty(),
        "X-Caracal-Resource reached the upstream",
    )?;
    must(
        seen.header("x-caracal-identity").len() == usize::from(resource.forward_identity),
        "X-Caracal-Identity",
    )?;
    if let Payload::Text(text) = ask.payload {
        let body = seen.body().and_then(|body| body.text.as_deref());
        must(body == Some(text), "another body reached the upstream")?;
    }
    credential(seen, ask, resource)
}

/// The credential is where the directive says, and nowhere else.
fn credential(seen: &Recorded, ask: &Ask, resource: &Resource) -> Result<(), String> {
    let authorization = seen.header("authorization");
    let same_target = || must(seen.target() == ask.target, "another target reached the upstream");
    let no_bearer = || must(authorization.is_empty(), "an Authorization reached the upstream");
    match &resource.credential {
        Credential::None => same_target().and_then(|()| no_bearer()),
        Credential::CaracalJwt => {
            let another = |value: &String| value.starts_with("Bearer ") && value.split('.').count() == 3;
            must(
                authorization.len() == 1 && authorization.iter().all(another),
                "no resource mandate upstream",
            )?;
            same_target()
        }
        Credential::ProviderOauth {
            header,
            scheme,
            token,
        } => {
            must(
                seen.header(header) == [format!("{scheme} {}", token.expose())],
                "no provider token upstream",
            )?;
            same_target()
        }
        Credential::ApiKeyHeader { header, key, .. } => {
            must(
                seen.header(header) == [key.expose()],
                "no key in the header upstream",
            )?;
            no_bearer().and_then(|()| same_target())
        }
        Credential::ApiKeyQuery { parameter, key } => {
            let sent = |pair: &&str| !pair.starts_with(&format!("{parameter}="));
            let (path, query) = ask.target.split_once('?').unwrap_or((ask.target, ""));
            let key = format!("{parameter}={}", key.expose());
            let mut expected: Vec<&str> = query.split('&').filter(sent).chain([key.as_str()]).collect();
            let target = seen.target();
            let (seen_path, seen_query) = target.split_once('?').unwrap_or((&target, ""));
            let mut found: Vec<&str> = seen_query.split('&').collect();
            expected.sort_unstable();
            found.sort_unstable();
            must(
                seen_path == path && found == expected,
                "the query is not the caller's with the provider's key",
            )?;
            no_bearer()
        }
    }
}

fn must(holds: bool, otherwise: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise.to_owned()) }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;
    use crate::commands::request::Ended;

    const BODY: &str = r#"{"error":"invalid_token","error_description":"no","requestId":"r-1"}"#;
    const HEADERS: [(&str, &str); 4] = [
        ("content-type", "application/json"),
        ("cache-control", "no-store"),
        ("x-request-id", "r-1"),
        ("www-authenticate", "Bearer error=\"invalid_token\""),
    ];

    fn reply(status: u16, headers: &[(&'static str, &str)], body: &str) -> Reply {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect();
        Reply {
            status,
            headers,
            ended: Ended {
                bytes: body.into(),
                trailers: None,
                whole: true,
            },
        }
    }

    fn judge(reply: &Reply) -> Result<(), String> {
        let ask = Ask::get("/report", "the-mandate-itself", "resource://r");
        refusal(&ask, reply, (401, "invalid_token", "no"))
    }

    #[test]
    fn a_refusal_as_it_should_be_passes() {
        assert_eq!(judge(&reply(401, &HEADERS, BODY)), Ok(()));
    }

    #[test]
    fn every_fault_of_a_refusal_is_noticed() {
        assert_eq!(judge(&reply(403, &HEADERS, BODY)), Err("another refusal".into()));
        assert_eq!(
            judge(&reply(401, &HEADERS, &BODY.replace("no", "yes"))),
            Err("another refusal".into())
        );
        assert_eq!(
            judge(&reply(401, &HEADERS, "no")),
            Err("the body is not JSON".into())
        );
        assert_eq!(
            judge(&reply(401, &HEADERS, &BODY.replace("r-1", "r-2"))),
            Err("the request id".into())
        );
        let leaking = BODY.replace("\"r-1\"", "\"r-1\",\"for\":\"resource://r\"");
        assert_eq!(
            judge(&reply(401, &HEADERS, &leaking)),
            Err("something of the request is echoed".into())
        );
        for (at, name) in [
            (0, "Content-Type"),
            (1, "Cache-Control"),
            (2, "the request id"),
            (3, "WWW-Authenticate"),
        ] {
            let mut fewer = HEADERS.to_vec();
            fewer.remove(at);
            assert_eq!(judge(&reply(401, &fewer, BODY)), Err(name.into()));
        }
        let mut cut = reply(401, &HEADERS, BODY);
        cut.ended.whole = false;
        assert_eq!(judge(&cut), Err("the body was cut".into()));
    }
}
