//! Secrets stay where they are: no sink shows one, whatever goes wrong.

use crate::crossing::resource_at;
use crate::hand::{HAND, HandUpstream};
use crate::wire::{ask, head_with};
use crate::world::{MANDATE, NONE, World};
use devstack::{Credential, RawAnswer, Scope, Secret, Target};
use std::path::Path;
use testkit::http::{self, Connection};

const KEY_QUERY: &str = "resource://key-query";

#[tokio::test]
async fn leaks_no_sink_holds_a_planted_secret_after_good_and_bad_requests() {
    let mut upstream = HandUpstream::start().await;
    let place = Target::Url(upstream.url());
    let metrics_bearer = "planted-metrics-bearer-0001";
    let mut planted: Vec<(&str, String)> = vec![
        ("query", "planted-query-0002".into()),
        ("body", "planted-body-0003".into()),
        ("cookie", "planted-cookie-0004".into()),
        ("header", "planted-header-0005".into()),
        ("answer", "planted-answer-0006".into()),
        ("STS answer", "planted-sts-0007".into()),
        ("metrics bearer", metrics_bearer.into()),
        ("path", "planted-path-0008".into()),
    ];
    let world = World::builder()
        .stack(|stack| {
            for resource in &mut stack.resources {
                let secret = format!("planted-provider-{}", resource.identifier.len());
                match &mut resource.credential {
                    Credential::ProviderOauth { token, .. } => *token = Secret::new(secret.as_str()),
                    Credential::ApiKeyHeader { key, .. } | Credential::ApiKeyQuery { key, .. } => {
                        *key = Secret::new(secret.as_str());
                    }
                    Credential::None | Credential::CaracalJwt => {}
                }
            }
            let mut hand = resource_at(HAND, place);
            hand.credential = Credential::ApiKeyQuery {
                parameter: "key".into(),
                key: Secret::new("planted-provider-hand"),
            };
            stack.resources.push(hand);
        })
        .env("METRICS_BEARER", metrics_bearer)
        .start()
        .await;
    planted.push(("provider", "planted-provider".into()));
    planted.extend(world.secrets());
    let database = world.variable("DATABASE_URL");
    let password = database
        .split('@')
        .next()
        .and_then(|start| start.rsplit(':').next());
    planted.push(("database password", password.expect("a password").to_owned()));

    let lines = "Cookie: c=planted-cookie-0004\r\nX-Header: planted-header-0005\r\n";
    let target = "/planted-path-0008?q=planted-query-0002";
    let body = "planted-body-0003";
    let post = format!("{lines}Connection: close\r\nContent-Length: {}\r\n", body.len());

    // What goes well, in every credential mode.
    for binding in world.stack.bindings() {
        let resource = binding.resource.as_str();
        if resource == HAND {
            continue;
        }
        let token = world.token(resource);
        let response = ask(
            world.addr(),
            head_with(&token, "POST", resource, target, &post) + body,
        )
        .await;
        assert_eq!(response.status(), 200, "{resource}: {}", response.text());
        // The same mandate again is a replay.
        let response = ask(
            world.addr(),
            head_with(&token, "POST", resource, target, &post) + body,
        )
        .await;
        assert_eq!(response.status(), 401);
        planted.push(("mandate", token));
    }

    // What goes wrong, one way after the other; what matters is what it leaves behind.
    let mut tampered = world.token(NONE);
    tampered.replace_range(tampered.len() - 8.., "AAAAAAAA");
    for (resource, token) in [
        (NONE, tampered),
        (NONE, "planted.malformed.token-0009".to_owned()),
        ("resource://unknown", world.token(NONE)),
    ] {
        let response = ask(
            world.addr(),
            head_with(&token, "POST", resource, target, &post) + body,
        )
        .await;
        assert!(matches!(response.status(), 401 | 403), "{}", response.text());
        planted.push(("refused mandate", token));
    }
    for answer in [
        RawAnswer::new(200, "text/html", "<html>planted-sts-0007"),
        RawAnswer::new(200, "application/json", "{\"access_token\":\"planted-sts-0007\""),
        RawAnswer::new(
            403,
            "application/json",
            r#"{"error":"access_denied","secret":"planted-sts-0007"}"#,
        ),
        RawAnswer::new(
            500,
            "application/json",
            r#"{"error":"internal_error","x":"planted-sts-0007"}"#,
        ),
        RawAnswer::redirect(302, "http://127.0.0.1:1/planted-sts-0007"),
    ] {
        world.stack.script().set(Scope::Resource(MANDATE.into()), answer);
        let token = world.token(MANDATE);
        let response = ask(
            world.addr(),
            head_with(&token, "POST", MANDATE, target, &post) + body,
        )
        .await;
        assert!(response.status() >= 400, "{}", response.text());
        planted.push(("failed mandate", token));
    }
    world.stack.script().clear(&Scope::Resource(MANDATE.into()));
    for answer in [
        "planted-answer-0006\r\n\r\n",
        "HTTP/1.1 200 OK\r\nplanted-answer-0006 : x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: planted-answer-0006\r\n\r\n",
        "HTTP/1.1 302 Found\r\nLocation: http://x/planted-answer-0006\r\nContent-Length: 9\r\n\r\nhalf",
    ] {
        let token = world.token(HAND);
        let request = head_with(&token, "POST", HAND, target, &post) + body;
        let play = async {
            let mut call = upstream.call().await;
            let head = call.head().await;
            assert!(head.contains("planted-provider-hand"), "{head}");
            call.exactly(body.len()).await;
            call.send(answer).await;
        };
        tokio::join!(ask(world.addr(), request), play);
        planted.push(("crossing mandate", token));
    }
    let mut leaving = Connection::open_abrupt(world.addr()).await;
    let token = world.token(KEY_QUERY);
    let request = head_with(
        &token,
        "GET",
        KEY_QUERY,
        "/sse?ms=600000&q=planted-query-0002",
        lines,
    );
    leaving.send(request).await.expect("an open connection");
    leaving.head().await;
    drop(leaving);
    planted.push(("mandate of one who left", token));
    let mut bent = Connection::open(world.addr()).await;
    let garbage = "GET /planted-path-0008?planted-query-0002 HTTP/1.1\r\nplanted-header-0005 : planted-cookie-0004\r\n\r\n";
    bent.exchange(garbage).await;

    // A last good request stands behind all others in every sink.
    let request = head_with(
        &world.token(NONE),
        "GET",
        NONE,
        "/",
        "X-Request-Id: last\r\nConnection: close\r\n",
    );
    assert_eq!(ask(world.addr(), request).await.status(), 200);
    world.events_of("last", 1).await;
    world
        .gateway
        .logged("the last request in the log", |line| line["request_id"] == "last")
        .await;

    let bearer = format!("Bearer {metrics_bearer}");
    let mut sinks = vec![("output".to_owned(), world.printed())];
    for path in ["/metrics", "/metrics.json", "/ready", "/health"] {
        let response = http::get(world.addr(), path, &[("Authorization", &bearer)]).await;
        sinks.push((path.to_owned(), response.text()));
    }
    let events = world.events().await;
    sinks.push((
        "audit stream".into(),
        events.iter().map(|event| event.data.as_str()).collect(),
    ));
    files_below(world.gateway.directory(), &mut sinks);
    assert!(sinks.len() > 6, "spool files are among the sinks");
    assert!(sinks[0].1.len() > 1000, "the log is among the sinks");
    assert_eq!(first_leak(&sinks, &planted), None);
}

/// Where something may be found, and the text in which it would be.
pub(crate) type Sinks = Vec<(String, String)>;

/// The first planted secret in a sink: which, where, and the line.
pub(crate) fn first_leak(sinks: &Sinks, planted: &[(&str, String)]) -> Option<String> {
    for (sink, text) in sinks {
        for (what, secret) in planted {
            // The signature alone would be enough to rebuild a token whose other parts are known.
            let signature = secret.rsplit('.').next();
            let signature = signature.filter(|part| secret.matches('.').count() == 2 && part.len() > 40);
            if let Some(at) = text.find(signature.unwrap_or(secret)) {
                let start = text[..at].rfind('\n').map_or(0, |line| line + 1);
                let line = text[start..].lines().next().unwrap_or_default();
                return Some(format!("{what} is in {sink}: {line}"));
            }
        }
    }
    None
}

/// Takes the files of a directory, and of those below it, among the sinks.
pub(crate) fn files_below(directory: &Path, sinks: &mut Sinks) {
    for entry in std::fs::read_dir(directory).expect("a directory").flatten() {
        let path = entry.path();
        if path.is_dir() {
            files_below(&path, sinks);
        } else {
            // The spool drops what has been delivered.
            let Ok(bytes) = std::fs::read(&path) else {
                continue;
            };
            sinks.push((
                path.display().to_string(),
                String::from_utf8_lossy(&bytes).into_owned(),
            ));
        }
    }
}
