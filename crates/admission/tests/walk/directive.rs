//! The directive's judgement: where the request goes and what it carries, or why not.

use admission::Denial;
use admission::exchange::{Dialect, Placement};
use serde_json::{Value, json};

use crate::ports::{Exchange, binding};
use crate::scene::{Scene, UPSTREAM, Walked, directive, granting};

/// Walks with a directive that differs from the good one in some members.
fn with(changes: &Value) -> Walked {
    walk(changes, |_| ())
}

fn walk(changes: &Value, change: impl FnOnce(&mut Scene)) -> Walked {
    let mut directive = directive();
    for (name, value) in changes.as_object().unwrap() {
        directive[name] = value.clone();
    }
    Scene::with(|scene| {
        scene.script.exchange = granting(&directive);
        change(scene);
    })
    .walk()
}

/// The placement in words, the identity token, and the header that the caller may not set.
fn carried(walked: Walked) -> (String, Option<String>, String) {
    let credential = walked.result.unwrap().into_parts().credential;
    let placement = match credential.placement {
        Placement::None => "none".to_owned(),
        Placement::Header { name, scheme, token } => {
            format!(
                "{name}: {}{}",
                scheme.map_or(String::new(), |scheme| scheme + " "),
                token.expose()
            )
        }
        Placement::Query { name, token } => format!("?{name}={}", token.expose()),
    };
    let identity = credential.identity.map(|token| token.expose().to_owned());
    (placement, identity, credential.reserved_header.to_string())
}

#[test]
fn directive_modes_place_the_credential() {
    let mandate = "resource.mandate.sig";
    for (changes, placement, identity, reserved) in [
        (json!({ "auth_mode": "none" }), "none", None, "authorization"),
        (
            json!({ "auth_mode": "none", "auth_header": "X-Api-Key" }),
            "none",
            None,
            "x-api-key",
        ),
        (
            json!({}),
            "authorization: Bearer resource.mandate.sig",
            None,
            "authorization",
        ),
        (
            json!({ "auth_scheme": "" }),
            "authorization: Bearer resource.mandate.sig",
            None,
            "authorization",
        ),
        (
            json!({ "auth_header": "X-Token", "auth_scheme": "Mandate" }),
            "x-token: Mandate resource.mandate.sig",
            None,
            "x-token",
        ),
        // The identity header belongs to the provider modes: here the mandate is sent anyway.
        (
            json!({ "forward_caracal_identity": true }),
            "authorization: Bearer resource.mandate.sig",
            None,
            "authorization",
        ),
        (
            json!({ "auth_mode": "none", "forward_caracal_identity": true }),
            "none",
            None,
            "authorization",
        ),
        (
            json!({ "auth_mode": "provider_oauth", "provider_token": "p" }),
            "authorization: Bearer p",
            None,
            "authorization",
        ),
        (
            json!({ "auth_mode": "provider_oauth", "provider_token": "dTpw", "auth_scheme": "Basic" }),
            "authorization: Basic dTpw",
            None,
            "authorization",
        ),
        (
            json!({ "auth_mode": "provider_oauth", "provider_token": "p", "auth_header": "", "auth_scheme": "" }),
            "authorization: p",
            None,
            "authorization",
        ),
        (
            json!({ "auth_mode": "provider_oauth", "provider_token": "p", "forward_caracal_identity": true }),
            "authorization: Bearer p",
            Some(mandate),
            "authorization",
        ),
        (
            json!({ "auth_mode": "provider_apikey", "auth_location": "header", "auth_header": "X-API-Key", "auth_scheme": "", "provider_token": "k" }),
            "x-api-key: k",
            None,
            "x-api-key",
        ),
        (
            json!({ "auth_mode": "provider_apikey", "auth_header": "x_api_key", "auth_scheme": "", "provider_token": "k y" }),
            "x_api_key: k y",
            None,
            "x_api_key",
        ),
        (
            json!({ "auth_mode": "provider_apikey", "auth_header": "Cookie", "auth_scheme": "", "provider_token": "s=k" }),
            "cookie: s=k",
            None,
            "cookie",
        ),
        (
            json!({ "auth_mode": "provider_apikey", "auth_location": "query", "query_param_name": "api.key~1", "provider_token": "k&x=1", "forward_caracal_identity": true }),
            "?api.key~1=k&x=1",
            Some(mandate),
            "authorization",
        ),
    ] {
        let expected = (
            placement.to_owned(),
            identity.map(str::to_owned),
            reserved.to_owned(),
        );
        assert_eq!(carried(with(&changes)), expected, "{changes}");
    }
}

#[test]
fn directive_that_cannot_be_obeyed_is_refused_and_the_mandate_is_spent() {
    let oauth = |name: &str, value: Value| json!({ "auth_mode": "provider_oauth", "provider_token": "p", name: value });
    let query = |name: &str| json!({ "auth_mode": "provider_apikey", "auth_location": "query", "query_param_name": name, "provider_token": "k" });
    for changes in [
        json!({ "auth_mode": "" }),
        json!({ "auth_mode": "Caracal_JWT" }),
        json!({ "auth_mode": "caracal_jwt " }),
        json!({ "auth_mode": "bearer" }),
        json!({ "auth_mode": null }),
        json!({ "auth_mode": ["none"] }),
        json!({ "auth_mode": "provider_oauth" }),
        json!({ "auth_mode": "provider_apikey" }),
        oauth("provider_token", json!("")),
        oauth("provider_token", json!("a\r\nX-Evil: 1")),
        oauth("provider_token", json!("a\u{0}")),
        oauth("provider_token", json!("é")),
        oauth("provider_token", json!(7)),
        oauth("auth_scheme", json!("Bear er")),
        oauth("auth_scheme", json!("1x")),
        oauth("auth_scheme", json!("Bearer\r\n")),
        oauth("auth_header", json!("X Key")),
        oauth("auth_header", json!("X-Key: x\r\nY")),
        oauth("auth_header", json!("é")),
        json!({ "auth_mode": "provider_apikey", "auth_location": "body", "provider_token": "k" }),
        json!({ "auth_mode": "provider_apikey", "auth_location": "Query", "query_param_name": "k", "provider_token": "k" }),
        query(""),
        query("a b"),
        query("a&b"),
        query("a=b"),
        query("a%62"),
        query("é"),
        json!({ "allowed_token_hosts": "api.example" }),
        json!({ "forward_caracal_identity": "yes" }),
    ] {
        let walked = with(&changes);
        assert_eq!(walked.denial(), Some(Denial::DirectiveInvalid), "{changes}");
        assert!(!walked.world.journal.has("release"), "{changes}");
    }
}

#[test]
fn directive_reserved_credential_headers_are_refused_in_every_spelling() {
    for name in [
        "baggage",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "expect",
        "forwarded",
        "host",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "traceparent",
        "tracestate",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "via",
        "x-real-ip",
        "x-request-id",
        "x-caracal-identity",
        "x-caracal-client-id",
        "x-forwarded-for",
        "x-forwarded-host",
        "proxy-x",
    ] {
        for spelling in [name.to_owned(), name.to_ascii_uppercase(), name.replace('-', "_")] {
            for mode in ["none", "caracal_jwt", "provider_oauth", "provider_apikey"] {
                let changes = json!({ "auth_mode": mode, "auth_header": spelling, "provider_token": "p" });
                assert_eq!(
                    with(&changes).denial(),
                    Some(Denial::DirectiveInvalid),
                    "{mode} {spelling}"
                );
            }
        }
    }
}

#[test]
fn directive_that_is_no_object_is_refused() {
    for raw in [
        json!(7),
        json!(null),
        json!([]),
        json!([UPSTREAM, "none"]),
        json!("x"),
        json!({}),
        json!({ "url": 1 }),
    ] {
        let walked = Scene::with(|scene| scene.script.exchange = granting(&raw)).walk();
        assert_eq!(walked.denial(), Some(Denial::DirectiveInvalid), "{raw}");
    }
    let empty =
        Scene::with(|scene| scene.script.exchange = granting(&json!({ "url": "", "auth_mode": "none" })))
            .walk();
    assert_eq!(empty.denial(), Some(Denial::NoDirective));
}

#[test]
fn directive_token_hosts_must_hold_the_upstreams_host() {
    for (hosts, passes) in [
        (json!([]), true),
        (json!(["api.example"]), true),
        (json!(["other.example", "API.Example"]), true),
        (json!(["other.example"]), false),
        (json!([""]), false),
        (json!(["example"]), false),
        (json!(["*.example"]), false),
        (json!(["api.example:443"]), false),
    ] {
        let denial = with(&json!({ "allowed_token_hosts": hosts })).denial();
        assert_eq!(
            denial,
            (!passes).then_some(Denial::TokenHostNotAllowed),
            "{hosts}"
        );
    }
    let row = Denial::TokenHostNotAllowed.row();
    assert_eq!((row.status.as_u16(), row.error), (502, "internal_error"));
    assert_eq!(
        row.description,
        "provider credential not allowed for upstream host"
    );
}

#[test]
fn directive_path_and_query_of_the_same_origin_are_the_base() {
    for url in [
        "https://api.example/other?v=2",
        "https://API.example.:443/other",
        "HTTPS://api.example",
    ] {
        let walked = with(&json!({ "url": url }));
        assert!(!walked.world.journal.has("reread"), "{url}");
        assert_eq!(
            walked
                .world
                .journal
                .calls()
                .iter()
                .filter(|call| **call == "resolve")
                .count(),
            1,
            "the addresses stay the judged ones"
        );
        let permit = walked.result.unwrap();
        assert_eq!(permit.parts().upstream.url().as_written(), url);
        assert_eq!(
            permit.parts().upstream.addresses()[0].socket(),
            ([93, 184, 216, 34], 443).into()
        );
    }
}

#[test]
fn directive_of_another_origin_is_a_mismatch_after_one_fresh_look() {
    for url in [
        "http://api.example/base",
        "https://api.example:8443/base",
        "https://evil.example/base",
        "https://sub.api.example/base",
    ] {
        // The binding stays what it was, moved elsewhere, or is gone.
        for reread in [
            Some(binding(UPSTREAM)),
            Some(binding("https://third.example")),
            None,
        ] {
            let walked = walk(&json!({ "url": url }), |scene| scene.script.reread = reread);
            assert_eq!(walked.denial(), Some(Denial::UpstreamMismatch), "{url}");
            assert_eq!(
                walked
                    .world
                    .journal
                    .calls()
                    .iter()
                    .filter(|call| **call == "reread")
                    .count(),
                1
            );
            assert!(!walked.world.journal.has("release"));
        }
        let moved = walk(&json!({ "url": url }), |scene| {
            scene.script.reread = Some(binding(url));
        });
        assert_eq!(
            moved.result.unwrap().parts().upstream.url().as_written(),
            url,
            "the binding had moved there"
        );
    }
    let row = Denial::UpstreamMismatch.row();
    assert_eq!(
        (row.status.as_u16(), row.error, row.description),
        (502, "internal_error", "upstream not addressable")
    );
}

#[test]
fn directive_url_passes_the_same_guard_as_the_binding() {
    for url in [
        "https://169.254.169.254/",
        "https://user@api.example/",
        "https://api.example/#x",
        "https://api.example/a/../b",
        "https://api.example\\@evil.example/",
        "file:///etc/passwd",
        "api.example",
    ] {
        let fresh = |scene: &mut Scene| scene.script.reread = Some(binding(url));
        let denial = walk(&json!({ "url": url }), fresh).denial();
        assert_eq!(denial, Some(Denial::UpstreamNotAddressable), "{url}");
    }
    let unlisted = walk(&json!({ "url": "https://other.example/" }), |scene| {
        scene.egress.allowlist = vec!["api.example".to_owned()];
        scene.script.reread = Some(binding("https://other.example/"));
    });
    assert_eq!(unlisted.denial(), Some(Denial::UpstreamNotAddressable));
}

#[test]
fn directive_metadata_is_kept_for_the_evidence_in_both_spellings() {
    for connection in ["connection_id", "grant_id"] {
        let permit =
            with(&json!({ "provider_id": "p-1", connection: "c-1", "expires_at": 7, "new_member": {} }))
                .result
                .unwrap();
        let metadata = &permit.parts().directive;
        assert_eq!(metadata.provider_id.as_deref(), Some("p-1"));
        assert_eq!(metadata.connection_id.as_deref(), Some("c-1"));
    }
}

#[test]
fn directive_may_be_absent_from_a_standard_sts() {
    let standard = |body: Value| {
        Scene::with(|scene| {
            scene.dialect = Dialect::Rfc8693;
            scene.script.exchange = Exchange::Answers(200, body.to_string());
        })
        .walk()
    };
    let walked = standard(json!({ "access_token": "t", "issued_token_type": "x", "token_type": "N_A" }));
    let permit = walked.result.unwrap();
    assert_eq!(
        permit.parts().upstream.url().as_written(),
        UPSTREAM,
        "the bound upstream"
    );
    assert_eq!(
        carried(standard(json!({ "access_token": "t" }))),
        (
            "authorization: Bearer t".to_owned(),
            None,
            "authorization".to_owned()
        )
    );
    // A directive that is there is obeyed, and judged, all the same.
    let bad = json!({ "access_token": "t", "upstreams": { crate::ports::RESOURCE: { "url": UPSTREAM, "auth_mode": "magic" } } });
    assert_eq!(standard(bad).denial(), Some(Denial::DirectiveInvalid));
}
